"""Problems in files that people write: all of them at once, each with its place and a hint."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file."""

    file: str
    line: int  # from 1; 0: the file as a whole
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class Invalid(Exception):
    """A file can't be used. `problems` holds every reason found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def near(name: str, choices: Iterable[str]) -> str:
    """A hint for a name that is not one of the choices: the nearest of them, if one is near."""
    folded = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), folded, n=1)
    return f"did you mean {folded[found[0]]}?" if found else ""
