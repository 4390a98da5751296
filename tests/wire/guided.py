"""A coverage-guided fuzzer in a hundred lines: inputs that reach a new branch are kept and bred from.

Coverage comes from Python's own monitoring (PEP 669): a branch whose both ways were seen is switched off, so that the
code soon runs at full speed. No package has to be built for it, and the inputs are the same for one seed.
"""

import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, ModuleType
from typing import Any

TOOL = 4  # one of the numbers that PEP 669 leaves to anyone
Check = Callable[[str], object]


def codes(modules: Iterable[ModuleType]) -> Iterator[CodeType]:
    """All code of modules: functions, methods, and what is nested in them."""

    def nested(code: CodeType) -> Iterator[CodeType]:
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from nested(constant)

    for module in modules:
        for value in list(vars(module).values()):
            members = vars(value).values() if isinstance(value, type) else [value]
            for member in members:
                code = getattr(member, "__code__", None)
                if isinstance(code, CodeType) and code.co_filename == module.__file__:
                    yield from nested(code)


class Coverage:
    """The branches that were taken, and whether the last input took a new one."""

    def __init__(self) -> None:
        self.taken: set[tuple[CodeType, int, int]] = set()
        self.new = False

    def branch(self, code: CodeType, at: int, to: int) -> Any:
        if (code, at, to) in self.taken:
            return None
        self.new = True
        self.taken.add((code, at, to))
        both = sum(1 for c, a, _ in self.taken if c is code and a == at) > 1
        return sys.monitoring.DISABLE if both else None

    @contextmanager
    def of(self, modules: Iterable[ModuleType]) -> Iterator[None]:
        watch = sys.monitoring
        watch.use_tool_id(TOOL, "guided")
        try:
            watch.register_callback(TOOL, watch.events.BRANCH, self.branch)
            for code in codes(modules):
                watch.set_local_events(TOOL, code, watch.events.BRANCH)
            yield
        finally:
            watch.restart_events()
            for code in codes(modules):
                watch.set_local_events(TOOL, code, 0)
            watch.register_callback(TOOL, watch.events.BRANCH, None)
            watch.free_tool_id(TOOL)


def bred(dice: random.Random, corpus: list[str], words: tuple[str, ...]) -> str:
    """A child of one or two inputs: cut, spliced, doubled, or with a word put in."""
    text = dice.choice(corpus)
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(len(text) + 1)
        end = min(len(text), at + dice.randrange(1, 9))
        match dice.randrange(6):
            case 0:
                text = text[:at] + dice.choice(words) + text[at:]
            case 1:
                text = text[:at] + dice.choice(words) + text[end:]
            case 2:
                text = text[:at] + text[end:]
            case 3:
                text = text[:end] + text[at:end] + text[end:]
            case 4:
                other = dice.choice(corpus)
                text = text[:at] + other[dice.randrange(len(other) + 1) :]
            case 5:
                text = text[:at] + chr(dice.choice((dice.randrange(128), dice.randrange(0x250)))) + text[at + 1 :]
    return text[:2_000]


def fuzz(
    check: Check,
    corpus: Iterable[str],
    words: tuple[str, ...],
    modules: Iterable[ModuleType],
    seed: object,
    seconds: float,
) -> tuple[int, int]:
    """Run `check` on bred inputs for a time; it raises what it finds. (inputs tried, inputs kept)."""
    dice, coverage, kept, tried = random.Random(repr(seed)), Coverage(), list(corpus), 0
    modules = list(modules)
    with coverage.of(modules):
        for text in kept:
            check(text)
        ends = time.process_time() + seconds
        while time.process_time() < ends:
            text = bred(dice, kept, words)
            coverage.new = False
            try:
                check(text)
            except BaseException as error:
                error.add_note(f"input {text!r}, seed {seed!r}")
                raise
            tried += 1
            if coverage.new:
                kept.append(text)
    return tried, len(kept)
