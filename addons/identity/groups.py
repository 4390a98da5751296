"""From claims to groups: the token's own groups claim, and rules over any claim for issuers that know no groups.

A rule names a group and what a token must say to be in it, in the token's own structure:

    {group: ci, claims: {repository: acme/app, ref: refs/heads/main}}
    {group: deployers, claims: {kubernetes.io: {namespace: agents, serviceaccount: {name: deployer}}}}

Every claim of a rule must match. Text matches the same text, case and all, or any member of a list that is the same;
`true` and `false` match only themselves. `*` stands for one whole part of a text, where `:`, `/` and `@` separate
parts: `repo:acme/*:ref:refs/heads/main` is every repository of acme, but neither another branch nor the owner
`acme-evil`. That is narrower than IAM's StringLike, whose `repo:acme*` has let strangers in.

The claims that rules name travel in the session, so that groups are decided anew at each call. A rule over a claim that
the session does not carry matches nothing until the next sign-in.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

LONGEST = 512  # characters of a pattern
_SEPARATORS = ":/@"
# Issuers whose tokens strangers get, too: the claims that tell one's own from theirs, and which part of each does.
SHARED_ISSUERS = {
    "https://token.actions.githubusercontent.com": {
        "sub": 1,  # repo:OWNER/NAME:...
        "repository": 0,
        "repository_id": 0,
        "repository_owner": 0,
        "repository_owner_id": 0,
    },
    "https://gitlab.com": {"sub": 1, "project_path": 0, "project_id": 0, "namespace_path": 0, "namespace_id": 0},
    "https://accounts.google.com": {"sub": 0, "email": -1, "hd": 0},
}
_MEANINGLESS = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})  # the same, or no name, for every token


class Pattern(str):
    """What the text of a claim must be."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern; ValueError says what is wrong with it."""
        if not text.strip(_SEPARATORS + "* "):
            raise ValueError(f"{text!r} says nothing of the claim: write its text, with * for one whole part of it")
        if len(text) > LONGEST or not text.isprintable():
            raise ValueError(f"a pattern is at most {LONGEST} printable characters")
        made = cls(text)
        if any("*" in part and part != "*" for part in made.parts):
            raise ValueError(f"{text!r} has * beside other text: it stands for all that is between two of : / @")
        return made

    @property
    def parts(self) -> list[str]:
        """What stands between the separators."""
        return re.split(f"[{_SEPARATORS}]", self)

    @functools.cached_property
    def _regex(self) -> re.Pattern[str] | None:
        return re.compile(re.escape(self).replace(r"\*", f"[^{_SEPARATORS}]+")) if "*" in self else None

    def matches(self, value: object) -> bool:
        """Whether a claim says this; one of its members, if it is a list."""
        if isinstance(value, list):
            return any(isinstance(one, str) and self.matches(one) for one in value)
        if not isinstance(value, str):
            return False
        return bool(self._regex.fullmatch(value)) if self._regex else self == value


# As deep as tokens of Kubernetes and Google go; the names on the way are those of the token.
Leaf = bool | Pattern
Tree = dict[str, Leaf | dict[str, Leaf | dict[str, Leaf]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Who is in a group: tokens of which all these claims hold."""

    group: str
    claims: Tree

    def __post_init__(self) -> None:
        if not any(isinstance(leaf, Pattern) for leaf in _leaves(self.claims)):
            raise ValueError("claims names no text that a token must have: everybody would be in the group")
        if named := sorted(_MEANINGLESS & self.claims.keys()):
            raise ValueError(f"claims names {named[0]}, which says nothing of who has the token")

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Whether a token with these claims is in the group."""
        return _holds(self.claims, claims)


def says_whose(issuer: str, rule: Rule) -> bool:
    """Whether a rule tells one's own tokens from those that strangers get of the same issuer."""
    owners = SHARED_ISSUERS.get(issuer)
    if owners is None:
        return True
    for name, index in owners.items():
        what = rule.claims.get(name)
        parts = what.parts if isinstance(what, Pattern) else []
        if -len(parts) <= index < len(parts) and parts[index] != "*":
            return True
    return False


def groups_of(claims: Mapping[str, Any], groups_claim: str | None, rules: Iterable[Rule]) -> tuple[str, ...]:
    """The groups of a token, in order: those that it names, and those of the rules that hold."""
    stated = claims.get(groups_claim) if groups_claim else None
    named = [group for group in stated if isinstance(group, str)] if isinstance(stated, list) else []
    return tuple(dict.fromkeys([*named, *(rule.group for rule in rules if rule.holds(claims))]))


def named_claims(claims: Mapping[str, Any], groups_claim: str | None, rules: Sequence[Rule]) -> dict[str, Any]:
    """Only what `groups_of` asks for: a session carries this, not the whole token."""
    found: dict[str, Any] = {}
    if groups_claim and isinstance(claims.get(groups_claim), list):
        found[groups_claim] = claims[groups_claim]
    for rule in rules:
        _keep(claims, rule.claims, found)
    return found


def _holds(wanted: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    for name, what in wanted.items():
        value = claims.get(name)
        if isinstance(what, Pattern):
            if not what.matches(value):
                return False
        elif isinstance(what, bool):
            if value is not what:
                return False
        elif not (isinstance(value, dict) and _holds(what, value)):
            return False
    return True


def _keep(claims: Mapping[str, Any], wanted: Mapping[str, Any], found: dict[str, Any]) -> None:
    for name, what in wanted.items():
        value = claims.get(name)
        if isinstance(what, dict):
            if isinstance(value, dict):
                _keep(value, what, found.setdefault(name, {}))
        elif isinstance(value, list):
            found[name] = [one for one in value if isinstance(one, str)]
        elif isinstance(value, str | bool):
            found[name] = value


def _leaves(tree: Mapping[str, Any]) -> Iterable[Any]:
    for what in tree.values():
        yield from _leaves(what) if isinstance(what, dict) else (what,)
