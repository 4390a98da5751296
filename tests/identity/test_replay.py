"""What is a replay and what is honest traffic that looks alike, and how much is remembered of it."""

import pytest

from addons.identity.refusal import Refused
from addons.identity.replay import LIMIT, Replays

NOW = 1_800_000_000.0


def seen(
    table: Replays, signed: str = "a", invocation: str | None = "i", attempt: str | None = "attempt=1", **at: float
) -> bool:
    """Whether it passes."""
    try:
        table.check(signed, invocation, attempt, until=at.get("until", NOW + 300), now=at.get("now", NOW))
    except Refused:
        return False
    return True


def test_the_same_attempt_passes_once() -> None:
    table = Replays()
    assert seen(table)
    assert not seen(table)
    assert not seen(table, now=NOW + 299)
    with pytest.raises(Refused, match="received before"):
        table.check("a", "i", "attempt=1", until=NOW + 300, now=NOW)


@pytest.mark.parametrize("other", [{"signed": "b"}, {"invocation": "j"}, {"attempt": "attempt=2"}])
def test_another_signature_call_or_attempt_passes(other: dict[str, str]) -> None:
    table = Replays()
    assert seen(table)
    assert seen(table, **other)  # type: ignore[arg-type]
    assert not seen(table, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", [{"invocation": None}, {"attempt": None}, {"invocation": ""}])
def test_clients_that_count_nothing_pass_and_take_no_memory(missing: dict[str, str]) -> None:
    table = Replays()
    assert seen(table, **missing)  # type: ignore[arg-type]
    assert seen(table, **missing)  # type: ignore[arg-type]
    assert table.count == 0


def test_parts_cannot_be_moved_from_one_to_the_next() -> None:
    table = Replays()
    assert seen(table, invocation="ab", attempt="c")
    assert seen(table, invocation="a", attempt="bc")


def test_what_has_ended_is_forgotten() -> None:
    table = Replays()
    for second in range(3600):
        seen(table, f"{second}", until=NOW + second + 900, now=NOW + second)
    assert 900 <= table.count <= 900 + 61
    assert not seen(table, "3599", until=NOW + 3599 + 900, now=NOW + 3599)


def test_there_is_a_bound_and_the_ones_that_end_first_go() -> None:
    table = Replays(1000)
    for number in range(5000):
        seen(table, f"{number}", until=NOW + number)
        assert table.count <= 1000
    assert not seen(table, "4999", until=NOW + 4999)
    assert LIMIT * 100 < 64 << 20
