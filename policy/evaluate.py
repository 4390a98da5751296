"""The evaluator: compiled statements and the items of a call in, a `Decision` out. Pure, and closed in every doubt.

For each item: any Deny that may match refuses; else an `approve` that may match holds, and the item passes (once
approved) only if an `approve` or an Allow surely covers it; else an Allow that surely covers it lets it pass; else it
is refused. `approve` so holds like a Deny and grants like an Allow. The call gets the worst of its items, over all of
the operations that it can't be told apart from. An error in a statement that may match refuses, whatever its effect.

Where the operation is not in the table (`derived`, `unresolved`), nothing is known of the resource: an Allow or the
grant of an `approve` then needs the action's literal name and the resource "*"; wildcards of a Deny match, and those
of an `approve` hold, so that a call which some Allow grants by name is still held by `approve` on `*`.

Source of the order: IAM User Guide, "Policy evaluation logic"; the third effect is our own.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from policy import items as resolution
from policy.conditions import Condition, Keys, Unusable, all_hold
from policy.model import Decision, Effect, Item, ItemResult, Request
from policy.patterns import Resource, action_matches

WORST: Mapping[Effect, int] = {"allow": 0, "approve": 1, "deny": 2}
LONGEST = 300  # characters of a resource in a sentence


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled. `sid` is "policy-name/sid"."""

    sid: str
    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[Resource, ...]
    conditions: tuple[Condition, ...] = ()

    def names(self, item: Item) -> Literal["no", "wildcard", "exact"]:
        """Whether the actions name an item's action: `exact` in its literal name or where wildcards may grant it."""
        matching = [pattern for pattern in self.actions if action_matches(pattern, item.action)]
        if item.state == "exact" or any(pattern.lower() == item.action.lower() for pattern in matching):
            return "exact" if matching else "no"
        return "wildcard" if matching else "no"

    def may_match(self, item: Item) -> bool:
        """Whether some resource pattern can match an item's resource, or what lies behind it."""
        if item.state != "exact" or any(pattern.overlaps(item.resource) for pattern in self.resources):
            return True
        return bool(item.behind) and any(pattern.overlaps(item.behind) for pattern in self.resources)

    def covers(self, item: Item) -> bool:
        """Whether some resource pattern surely matches an item's resource."""
        if item.state != "exact":
            return any(pattern.text == "*" for pattern in self.resources)
        return any(pattern.covers(item.resource) for pattern in self.resources)


@dataclass(frozen=True, slots=True)
class _Named:
    """The statements that name one action. Of `grants` the wildcards that may not grant are left out."""

    denies: tuple[Statement, ...]
    holds: tuple[Statement, ...]
    grants: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the statements said to one item."""

    effect: Effect
    why: str
    sid: str | None = None
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class Evaluator:
    """The statements bound to a session. Compiled once; safe to share between threads."""

    statements: tuple[Statement, ...]
    policies: tuple[str, ...]
    policy_hash: str
    named: "functools._lru_cache_wrapper[_Named]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "named", functools.lru_cache(maxsize=4096)(self._named))

    def _named(self, action: str, exact: bool) -> _Named:
        probe = Item(action, "*", "exact" if exact else "derived")
        found = [(statement, named) for statement in self.statements if (named := statement.names(probe)) != "no"]
        return _Named(
            denies=tuple(s for s, _ in found if s.effect == "deny"),
            holds=tuple(s for s, _ in found if s.effect == "approve"),
            grants=tuple(s for s, named in found if s.effect != "deny" and named == "exact"),
        )

    def decide(self, request: Request) -> Decision:
        """Decide on a call. Never raises: what fails is a refusal that says so."""
        keys = Keys(request.params, dict(request.context) | _own_keys(request))
        try:
            needed = tuple(dict.fromkeys(_needed(request)))
        except Exception as error:  # parameters may be of any shape: whatever goes wrong refuses
            return self._refused(request, f"the parameters can't be read ({type(error).__name__})", keys)
        if not needed:
            return self._refused(request, "the call asks for nothing that is known", keys)
        verdicts = [self._item(item, keys) for item in needed]
        worst = max(verdicts, key=lambda verdict: WORST[verdict.effect])
        more = sum(verdict.effect == worst.effect for verdict in verdicts) - 1
        return Decision(
            effect=worst.effect,
            items=tuple(ItemResult(i, v.effect, v.sid, v.conditional) for i, v in zip(needed, verdicts, strict=True)),
            sid=worst.sid,
            why=worst.why + (f" (and {more} more like it)" if more else ""),
            policy_hash=self.policy_hash,
            keys=keys.read,
            missing=tuple(keys.missing),
            policies=self.policies,
        )

    def _refused(self, request: Request, why: str, keys: Keys) -> Decision:
        text = f"{request.service}:{request.operation} is refused: {why}"
        return Decision("deny", (), None, text, self.policy_hash, keys.read, tuple(keys.missing), self.policies)

    def _item(self, item: Item, keys: Keys) -> _Verdict:
        named = self.named(item.action, item.state == "exact")
        try:
            for statement in named.denies:
                if statement.may_match(item) and _holds(statement, keys):
                    return _Verdict("deny", f"{statement.sid} denies {_shown(item)}", statement.sid)
            # Every one of them is tested: an error refuses wherever it stands.
            holding = [s for s in named.holds if s.may_match(item) and _holds(s, keys)]
            granting = [s for s in named.grants if s.covers(item) and _holds(s, keys)]
        except _Failed as failed:
            return _Verdict("deny", f"{failed.sid} can't be decided for {_shown(item)}: {failed}", failed.sid)
        conditional = all(s.conditions for s in granting) or any(
            condition.key.lower().startswith("req:")
            for statement in (*named.denies, *named.holds)
            if statement.may_match(item)
            for condition in statement.conditions
        )
        if holding and granting:
            why = f"{holding[0].sid} holds {_shown(item)} for approval"
            return _Verdict("approve", why, holding[0].sid, conditional)
        if granting:
            return _Verdict("allow", f"{granting[0].sid} allows {_shown(item)}", granting[0].sid, conditional)
        return _Verdict("deny", _not_granted(item, named))


class _Failed(Exception):
    """A statement that may match can't be decided."""

    def __init__(self, sid: str, reason: str) -> None:
        super().__init__(reason)
        self.sid = sid


def _holds(statement: Statement, keys: Keys) -> bool:
    if not statement.conditions:
        return True
    try:
        return all_hold(statement.conditions, keys)
    except Unusable as error:
        raise _Failed(statement.sid, str(error)) from None
    except Exception as error:
        raise _Failed(statement.sid, f"a condition failed ({type(error).__name__})") from None


def _own_keys(request: Request) -> dict[str, str]:
    return {"aws:RequestedRegion": request.region, "gate:subject": request.subject}


def _needed(request: Request) -> Iterable[Item]:
    for service, operation in dict.fromkeys([(request.service, request.operation), *request.candidates]):
        yield from resolution.items(request, service, operation)


def _shown(item: Item) -> str:
    return item.action if item.resource == "*" else f"{item.action} on {_resource(item)}"


def _resource(item: Item) -> str:
    return item.resource if len(item.resource) <= LONGEST else item.resource[:LONGEST] + "..."


def _not_granted(item: Item, named: _Named) -> str:
    text = f"no statement allows {item.action} on {_resource(item)}"
    if item.state != "exact":
        return f'{text}: its resource is not known, so only this very name on the resource "*" would allow it'
    near: Sequence[str] = [s.sid for s in named.grants if s.may_match(item)]
    if near and not any(s.covers(item) for s in named.grants):
        return f"{text}: {near[0]} reaches only a part of what that may be"
    return text
