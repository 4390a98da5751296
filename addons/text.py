"""Showing the agent's words to people: no escapes, no direction marks, no length that pushes the rest out of sight."""

import unicodedata


def one_line(value: str, limit: int = 300) -> str:
    """Text for one line of a screen: controls and format characters (bidi marks) become their code points."""
    shown = "".join(c if unicodedata.category(c)[0] != "C" else f"\\u{ord(c):04x}" for c in value)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def lines(value: str, limit: int = 20_000) -> str:
    """The same for text of several lines."""
    shown = "\n".join(one_line(line, limit) for line in value.split("\n"))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
