"""What policy is asked and what it answers: plain values that know no proxy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Effect = Literal["allow", "approve", "deny"]
State = Literal["exact", "derived", "unresolved"]


@dataclass(frozen=True, slots=True)
class Request:
    """One decoded call by one principal. `candidates` are the operations alike on the wire: each must be allowed."""

    service: str
    operation: str
    params: Mapping[str, Any]
    region: str
    account: str  # twelve digits, of the credentials that would sign
    partition: str = "aws"
    candidates: tuple[tuple[str, str], ...] = ()
    subject: str = ""
    groups: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)  # further keys, "aws:SourceIp" for one


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that the call needs: an IAM action on a resource.

    In the ARN of an `exact` item an unknown part is "*", an unknown character "?"; "*" alone means that the action has
    no resource. Of the resource of other items nothing is known. `behind` is a second resource, which the first leads
    to (the bucket of an access point): it counts for what denies and holds, not for what allows.
    """

    action: str  # "s3:GetObject"
    resource: str  # "arn:aws:s3:::bucket/key"
    state: State
    behind: str = ""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What the policies said to one item, and which statement said it."""

    item: Item
    effect: Effect
    sid: str | None
    conditional: bool = False  # a parameter more or less could make it another: no grant is without conditions, or a
    # statement that would deny or hold has a condition on a parameter


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer with its reasons. `why` is one sentence for people."""

    effect: Effect
    items: tuple[ItemResult, ...]
    sid: str | None  # the statement that decided, "policy-name/sid"; None: no statement matched
    why: str
    policy_hash: str
    keys: Mapping[str, Any] = field(default_factory=dict)  # condition keys that the decision read
    missing: tuple[str, ...] = ()  # condition keys that were asked for and not there
    policies: tuple[str, ...] = ()  # names of the policies that were consulted
    charges: tuple[str, ...] = ()  # limits to reserve before sending; none in version 1
