"""The one object that travels with a flow: each step fills in its own part and reads the earlier ones.

It hangs beside the flow, never in `flow.metadata`: what is in there must be plain, or mitmproxy's dump drops the flow.
"""

import os
import time
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy import hooks, http

from addons.approvals.tickets import Ticket
from addons.identity.session import Keys, Session
from addons.upload import Upload
from addons.wire import Decoded, Headers, HttpRequest
from policy.model import Decision


def event_id() -> str:
    """A UUID of version 7 (RFC 9562): its first 48 bits are milliseconds, so identifiers sort by time."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    text = f"{value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call does not pass, in AWS's terms. `step` is the addon that refused."""

    step: str
    code: str
    message: str
    status: int = 403


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person decided about a held call."""

    verdict: str  # "approved", "denied", "timed out", "gone", "shutting down"
    by: str | None
    seconds: float  # how long the call was held


@dataclass(slots=True)
class Call:
    """One HTTP attempt of one AWS call."""

    source: str  # the client's address
    access_request: str = ""  # how to ask for what is refused: stands in every refusal
    id: str = field(default_factory=event_id)
    started: float = field(default_factory=time.time)
    request: HttpRequest | None = None
    upload: Upload | None = None  # its body streams, so that the head alone decides; else it is part of `request`
    private: bool = False  # carries a token or a minted secret: kept out of the web view and the recording
    session: Session | None = None
    access_key: str | None = None  # the synthetic key that signed
    decoded: Decoded | None = None
    account: str = ""  # where its resources were decided on: it is sent to no other
    decision: Decision | None = None
    ticket: Ticket | None = None  # what it was held under
    approval: Approval | None = None
    refusal: Refusal | None = None
    answered: bool = False  # by the gateway itself: the sign-in
    intended: bool = False  # an intent is durable
    signed_as: dict[str, str] = field(default_factory=dict)  # {"role", "sessionPolicy"} where a role was assumed for it
    added: Headers = ()  # sent, though the agent did not send them
    keys: Keys | None = field(default=None, repr=False)  # what it was signed with; gone once it is answered
    sent: bool = False  # bytes may have reached AWS
    upstream_status: int | None = None
    head: Headers = ()  # the answer's headers, until it is masked
    streams: bool = False  # the answer is passed on as it comes
    masked: tuple[dict[str, Any], ...] = ()
    returned: str | None = None  # the synthetic access key that stands for the credentials in the answer
    streamed: int | None = None  # bytes delivered by a streamed answer
    recorded: bool = False  # the outcome line is durable


@dataclass
class AwsCallHook(hooks.Hook):
    """There is enough of a call to decide on it: the hook of the steps, `aws_call`. arrival.py tells when."""

    flow: http.HTTPFlow


_calls: WeakKeyDictionary[http.HTTPFlow, Call] = WeakKeyDictionary()


def call_of(flow: http.HTTPFlow) -> Call | None:
    """The call of a flow, or None for a flow that is none of ours (loaded from a file, a tunnel's CONNECT)."""
    return _calls.get(flow)


def passing(flow: http.HTTPFlow) -> Call | None:
    """The call of a flow that goes on to the next step: neither refused yet nor answered by the gateway itself."""
    call = call_of(flow)
    return None if call is None or call.refusal or call.answered else call


def attach(flow: http.HTTPFlow, call: Call) -> Call:
    """Let a call travel with a flow."""
    _calls[flow] = call
    return call
