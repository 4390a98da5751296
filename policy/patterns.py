"""IAM's wildcards: on action names, and on ARNs segment by segment, where the request may be unknown in part.

Source: AWS IAM User Guide, "IAM JSON policy elements: Resource" and "... Action". In a pattern `*` is any run of
characters and `?` is one; in an ARN neither crosses a `:` of the first five segments, and the sixth is matched as a
whole. Actions are compared without case, resources with it.

In a request's ARN `*` stands for an unknown run of characters and `?` for one unknown character. A name that truly
holds one of them (an S3 key may) is read in the same way: that only makes an Allow narrower and a Deny wider.
"""

import functools
import re
from dataclasses import dataclass

NO_RESOURCE = "*"  # what IAM asks about for an action that has no resource type


@functools.lru_cache(maxsize=8192)
def glob(pattern: str, one: str = ".") -> re.Pattern[str]:
    """A pattern as an expression, to be used with `fullmatch`; `one` is what `?` matches.

    What stands between two `*` is matched at its first place and never tried again (an atomic group), which is enough
    for globs and keeps the time linear: the text is the agent's and may be made to be slow.
    """
    pattern = re.sub(r"[*?]*\*[*?]*", lambda run: "?" * run[0].count("?") + "*", pattern)
    first, *rest = ("".join(one if c == "?" else re.escape(c) for c in part) for part in pattern.split("*"))
    if not rest:
        return re.compile(first, re.DOTALL)
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}", re.DOTALL)


def literal(pattern: str) -> bool:
    """Whether a pattern has no wildcard."""
    return "*" not in pattern and "?" not in pattern


def action_matches(pattern: str, action: str) -> bool:
    """Whether an action pattern (`s3:Get*`, `*:Delete*`, `*`) names an action."""
    pattern, action = pattern.lower(), action.lower()
    if literal(pattern):
        return pattern == action
    return pattern == "*" or bool(glob(pattern).fullmatch(action))


@functools.lru_cache(maxsize=8192)
def segments(arn: str) -> tuple[str, ...] | None:
    """The six segments of an ARN; a shorter pattern implies `:*`; None for what is no ARN."""
    parts = arn.split(":", 5)
    if parts[0] != "arn" or len(parts) < 3:
        return None
    return tuple(parts + ["*"] * (6 - len(parts)))


CASELESS = ("iam",)  # "Names are not distinguished by case" (IAM API Reference): ROLE/ADMIN is the role Admin
ORDER = (2, 5, 4, 3, 1)  # the segments that differ most, first: service, resource, account, region, partition


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource pattern of a statement, cut up once."""

    text: str
    parts: tuple[str, ...]  # empty for "*", and for what is no ARN and so matches nothing
    tests: tuple[tuple[int, str | re.Pattern[str]], ...]  # of the segments that don't match everything

    @classmethod
    @functools.lru_cache(maxsize=8192)
    def of(cls, text: str) -> "Resource":
        """Cut up a pattern."""
        parts = segments(text) or ()
        # The "*" of an unknown part is matched by a pattern's "*" alone: then it matches, whatever the part is.
        tests = [(at, parts[at] if literal(parts[at]) else glob(parts[at], "[^*]")) for at in ORDER if parts]
        return cls(text, parts, tuple(test for test in tests if parts[test[0]] != "*"))

    def covers(self, resource: str) -> bool:
        """Whether the pattern surely matches a resource, whatever its unknown parts are.

        Never true wrongly; false for a few patterns with `?` beside an unknown part that would match.
        """
        if self.text == "*":
            return True
        if not self.parts or (given := segments(resource)) is None:
            return False
        for at, test in self.tests:  # noqa: SIM110  a plain loop: this runs for every statement that names the action
            if not (given[at] == test if isinstance(test, str) else test.fullmatch(given[at])):
                return False
        return True

    def overlaps(self, resource: str) -> bool:
        """Whether the pattern could match a resource, for some value of its unknown parts."""
        if self.text == "*" or not self.parts or resource == NO_RESOURCE:
            return self.covers(resource)
        if (given := segments(resource)) is None:
            return False
        if given[2] in CASELESS:
            return all(meet(self.parts[at].lower(), given[at].lower()) for at, _ in self.tests)
        if literal(resource):
            return self.covers(resource)
        return all(meet(self.parts[at], given[at]) for at, _ in self.tests)


def covers(pattern: str, resource: str) -> bool:
    """`Resource.covers` for a pattern as text."""
    return Resource.of(pattern).covers(resource)


def overlaps(pattern: str, resource: str) -> bool:
    """`Resource.overlaps` for a pattern as text."""
    return Resource.of(pattern).overlaps(resource)


def meet(one: str, other: str) -> bool:
    """Whether two globs have a text in common. Time: the product of their lengths at most."""
    if literal(one) and literal(other):
        return one == other
    reachable = _skip({0}, other)  # places in `other` that a text which `one` matched so far can stand at
    for c in re.sub(r"\*+", "*", one):
        if c == "*":
            reachable = set(range(min(reachable), len(other) + 1))
            continue
        step: set[int] = set()
        for at in reachable:
            if at < len(other):
                if other[at] == "*":
                    step.add(at)
                elif c == "?" or other[at] in (c, "?"):
                    step.add(at + 1)
        if not (reachable := _skip(step, other)):
            return False
    return len(other) in reachable


def _skip(places: set[int], text: str) -> set[int]:
    """The places, and those behind the `*`s that stand there: a `*` may be nothing."""
    found = set(places)
    for at in places:
        while at < len(text) and text[at] == "*":
            at += 1
            found.add(at)
    return found
