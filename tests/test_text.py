"""What people read of the agent's words: nothing hidden, nothing that moves the cursor, nothing endless."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.text import MARKS, lines, one_line, short

# Bidi_Control of Unicode's PropList.txt, and what "Trojan Source" (CVE-2021-42574) is made of.
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=500)


@given(ANYTHING)
def test_a_line_holds_no_control_format_or_separator_character(value: str) -> None:
    shown = one_line(value)
    assert not [
        c for c in shown if unicodedata.category(c)[0] == "C" or (unicodedata.category(c)[0] == "Z" and c != " ")
    ]
    assert len(shown) <= 300


@given(ANYTHING)
def test_text_of_several_lines_breaks_only_at_its_own_newlines(value: str) -> None:
    shown = lines(value)
    assert len(shown.splitlines() or [""]) <= value.count("\n") + 1


@given(st.text(st.characters(categories=("L", "N", "P", "S"), max_codepoint=0x2FF), max_size=300))
def test_plain_words_stay_as_they_are(value: str) -> None:
    assert one_line(value) == value


@pytest.mark.parametrize("mark", BIDI)
def test_bidi_marks_are_shown_as_code_points(mark: str) -> None:
    assert one_line(f"a{mark}b") == f"a\\u{ord(mark):04x}b"


def test_terminal_escapes_are_shown_as_code_points() -> None:
    assert one_line("\x1b[2J\x1b]0;title\x07\x9b1m\r\n") == "\\u001b[2J\\u001b]0;title\\u0007\\u009b1m\\u000d\\u000a"


def test_astral_code_points_have_eight_digits() -> None:
    assert one_line("\U000e0041") == "\\U000e0041"  # a tag character: text that only machines see


def test_blank_letters_and_odd_spaces_are_shown() -> None:
    assert one_line("a\u3164b\u2800c\xa0d\u2028e") == "a\\u3164b\\u2800c\\u00a0d\\u2028e"


def test_marks_are_not_heaped_on_a_letter() -> None:
    assert one_line("e\u0301") == "e\u0301"
    assert one_line("e" + "\u0301" * 40).count("\u0301") == MARKS


def test_a_long_line_shows_its_start_and_its_end() -> None:
    shown = one_line("start" + "x" * 100_000 + "end", 50)
    assert shown.startswith("start")
    assert shown.endswith("end")
    assert "…" in shown
    assert len(shown) == 50


def test_a_line_break_in_a_value_makes_no_line_of_its_own() -> None:
    assert "\n" not in one_line("t\ndecision: allow")


@given(
    st.recursive(
        st.none() | st.text(max_size=2000) | st.binary() | st.integers(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=30,
    )
)
def test_a_tree_is_cut_at_every_level(value: object) -> None:
    def check(shown: object) -> None:
        if isinstance(shown, str):
            assert len(shown) <= 40
        elif isinstance(shown, dict):
            assert len(shown) <= 5 + 1
            [check(item) for item in shown.values()]
        elif isinstance(shown, list):
            assert len(shown) <= 5 + 1
            [check(item) for item in shown]
        else:
            assert not isinstance(shown, bytes)

    check(short(value, 40, 5))


def test_what_was_left_out_is_counted() -> None:
    assert short(list(range(60))) == [*range(50), "… 10 more"]
    assert short({str(i): i for i in range(60)})["…"] == "10 more"  # type: ignore[index]
    assert short(b"\0" * 2048) == "[2,048 bytes]"
