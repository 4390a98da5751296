"""Showing the agent's words to people: no escapes, no direction marks, no length that pushes the rest out of sight.

What a reader can't see, or would see in another place, is shown as its code point: controls and format characters
(terminal escapes, bidi marks, zero-width and tag characters), separators and spaces that are no plain space, fillers
that look like nothing, and marks heaped on one letter (Unicode Technical Report 36, sections 2.5 to 2.7). So are forms
of ASCII characters that are not ASCII, and letters of other scripts in a Latin word (Technical Standard 39, section 5).
"""

import itertools
import re
import unicodedata
from collections.abc import Mapping

BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks without any ink
PUNCTUATION = frozenset("\u2010\u2011\u2012\u2044\u2212\u2215\u2217\u2236\u29f8\ua789")  # as - / * : to the eye
SCRIPTS = frozenset({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"})
WORDS = re.compile(r"\w+|\W")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
MARKS = 3  # combining marks on one letter; no living script needs more


def one_line(value: str, limit: int = 300) -> str:
    """Text for one line of a screen, at most `limit` characters of it: the start and the end of what is longer."""
    if len(value) > 4 * limit:
        value = value[: 2 * limit] + value[-2 * limit :]  # enough to cut from; escapes only make it longer
    if not (value.isascii() and value.isprintable()):
        value = "".join(_visible(value))
    if len(value) <= limit:
        return value
    tail = min(60, limit // 4)
    return value[: limit - tail - 1] + "…" + value[len(value) - tail :]


def lines(value: str, limit: int = 20_000) -> str:
    """The same for text of several lines; what is longer than `limit` ends with "…"."""
    shown = "\n".join(one_line(line, limit) for line in value[: limit + 1].split("\n"))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def short(value: object, limit: int = 400, members: int = 50, nodes: int = 1_000) -> object:
    """A tree of parameters with every text, list and map in it cut to what fits a screen, with a mark where it is.

    `nodes`: how many values there may be in all. Lists in lists would make a million of them, and keep everybody
    waiting who is served by the same thread.
    """
    return _short(value, limit, members, [nodes])


def _short(value: object, limit: int, members: int, left: list[int]) -> object:
    left[0] -= 1
    if left[0] < 0:
        return "…"
    if isinstance(value, str):
        return value if len(value) <= limit else one_line(value, limit)
    if isinstance(value, bytes | bytearray):
        return f"[{len(value):,} bytes]"
    if isinstance(value, Mapping):
        shown: dict[object, object] = {
            one_line(str(name), limit): _short(item, limit, members, left)
            for name, item in itertools.islice(value.items(), members)
        }
        return shown if len(value) <= members else shown | {"…": f"{len(value) - members:,} more"}
    if isinstance(value, list | tuple | set | frozenset):
        listed = [_short(item, limit, members, left) for item in itertools.islice(value, members)]
        return listed if len(value) <= members else [*listed, f"… {len(value) - members:,} more"]
    return value if value is None or isinstance(value, bool | int | float) else one_line(str(value), limit)


def _visible(value: str) -> list[str]:
    shown, marks = [], 0
    for word in WORDS.findall(value):
        mixed = LATIN.search(word) is not None
        for c in word:
            category = unicodedata.category(c)
            marks = marks + 1 if category in ("Mn", "Me") else 0
            hidden = category[0] == "C" or (category[0] == "Z" and c != " ") or c in BLANK or _selects_variant(c)
            if hidden or marks > MARKS or (not c.isascii() and (_passes_for_ascii(c) or (mixed and _alike(c)))):
                shown.append(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}")
            else:
                shown.append(c)
    return shown


def _passes_for_ascii(c: str) -> bool:
    """Whether a character is another form of an ASCII one: fullwidth, mathematical, circled, small."""
    return c in PUNCTUATION or (c > "\u02ff" and unicodedata.normalize("NFKC", c).isascii())


def _alike(c: str) -> bool:
    """Whether a letter is of a script that has letters like the Latin ones; in a Latin word it is there to deceive."""
    return unicodedata.name(c, "").partition(" ")[0] in SCRIPTS


def _selects_variant(c: str) -> bool:
    return "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef"
