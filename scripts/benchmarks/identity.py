"""The room `identity`: what it costs to know who calls and to sign anew, beside botocore's own signer, in one run.

Signatures: CPU time to parse what a request says about its signature, open the sealed token that it comes with, verify
it and sign it with a real key; a hundred agents take turns. An agent signs all its calls with one token, which the key
ring remembers; what a session's first calls cost, whose token is opened, stands beside it. Chunks: CPU time of a body
whose chunks are verified and signed anew. botocore also judges every form's outcome: it shares no code with our signer.
"""

import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from addons.identity.sealed import KeyRing
from addons.identity.session import Session
from addons.wire import sigv4
from addons.wire.chunks import Chain, Resigner
from addons.wire.message import Headers, HttpRequest
from scripts.benchmarks.judge import REAL_KEY, REAL_SECRET
from scripts.benchmarks.load import Failed
from scripts.benchmarks.proxy import Progress
from scripts.benchmarks.timing import median_us
from scripts.benchmarks.wire import Goal

REGION, ROLE = "us-east-1", "arn:aws:iam::111122223333:role/agents"
AGENTS = 100
STRANGERS = 1_200  # more than a key ring remembers, so that each is new whenever its turn comes
CHUNKS = (8 << 10, 64 << 10, 1 << 20)  # bytes: S3's least, the usual, a large one
PIECE = 64 << 10  # bytes that come at once
GOAL_US, GOAL_CHUNKS = 60.0, 500.0  # microseconds; MB/s
CHUNK = "64 KiB"

Keys = tuple[str, str, str]  # access key, secret, token


@dataclass(frozen=True, slots=True)
class Form:
    """One way to sign a request."""

    name: str
    service: str
    method: str
    host: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    presigned: bool = False
    sigv4a: bool = False


FORMS = (
    Form(
        "dynamodb:GetItem", "dynamodb", "POST", "dynamodb.us-east-1.amazonaws.com", "/",
        (("X-Amz-Target", "DynamoDB_20120810.GetItem"), ("Content-Type", "application/x-amz-json-1.0")),
        b'{"TableName":"orders","Key":{"id":{"S":"order-1"}}}',
    ),
    Form("s3:GetObject", "s3", "GET", "bucket.s3.us-east-1.amazonaws.com", "/folder/a%20b.txt"),
    Form("s3:PutObject of 1 KB", "s3", "PUT", "bucket.s3.us-east-1.amazonaws.com", "/k", (), bytes(1024)),
    Form("s3:ListObjectsV2", "s3", "GET", "bucket.s3.us-east-1.amazonaws.com", "/?list-type=2&prefix=a%2Fb&max-keys=5"),
    Form("s3:GetObject, presigned", "s3", "GET", "bucket.s3.us-east-1.amazonaws.com", "/k", presigned=True),
    Form("s3:GetObject, SigV4a", "s3", "GET", "bucket.s3.us-east-1.amazonaws.com", "/k", sigv4a=True),
)  # fmt: skip


@dataclass(slots=True)
class Result:
    """Everything that one run found. Times in microseconds of CPU, rates in 10^6 bytes a second of CPU."""

    ours: dict[str, float] = field(default_factory=dict)  # by the form's name
    first: dict[str, float] = field(default_factory=dict)  # the same where the session was not seen before
    botocore: dict[str, float] = field(default_factory=dict)  # botocore's signer alone
    chunks: dict[str, float] = field(default_factory=dict)  # by the chunks' size
    hashing: float = 0.0  # SHA-256 alone: what a chunk costs at the least

    @property
    def goals(self) -> list[Goal]:
        """The figures of the issue. SigV4a is shown and has no goal: its cost is that of the curve."""
        timed = [form.name for form in FORMS if not form.sigv4a]
        return [
            *(Goal(name, self.ours.get(name), GOAL_US, "us", False) for name in timed),
            Goal(f"chunks of {CHUNK}", self.chunks.get(CHUNK), GOAL_CHUNKS, "MB/s", True),
        ]

    @property
    def verdict(self) -> str:
        """ "met" or "missed"."""
        return "missed" if any(goal.met is not True for goal in self.goals) else "met"


def run(quick: bool, progress: Progress) -> Result:
    """Measure everything. Raises `Failed` where a signature is not what botocore makes of it."""
    found, blocks = Result(), 5 if quick else 25
    with tempfile.TemporaryDirectory() as directory:
        ring = KeyRing.open(Path(directory) / "keyring.json")
        progress.phase("sealing sessions", 0)
        keys = [ring.seal(session(number)) for number in range(AGENTS + STRANGERS)]
        progress.phase("verifying and signing anew", len(FORMS))
        for form in FORMS:
            _timed(found, form, ring, keys, blocks)
            progress.step()
    progress.phase("chunk-signed bodies", len(CHUNKS))
    for size in CHUNKS:
        found.chunks[f"{size >> 10} KiB"] = _chunks(size, blocks)
        progress.step()
    data = memoryview(bytes(PIECE))
    found.hashing = PIECE / median_us(lambda: hashlib.sha256(data).digest(), blocks)
    return found


def session(number: int) -> Session:
    """The session of one of many agents."""
    now = int(time.time())
    return Session(
        f"{number:032x}",
        "https://idp.example.com",
        f"agent/{number}",
        ("developers",),
        ROLE,
        "bench",
        "j",
        now,
        now + 3600,
    )


def _timed(found: Result, form: Form, ring: KeyRing, keys: list[Keys], blocks: int) -> None:
    requests = [signed(form, each) for each in keys]
    _judge(form, anew(requests[0], form, ring))
    known, new = itertools.cycle(requests[:AGENTS]), itertools.cycle(requests[AGENTS:])
    timed: list[tuple[dict[str, float], Callable[[], object]]] = [
        (found.ours, lambda: anew(next(known), form, ring)),
        (found.first, lambda: anew(next(new), form, ring)),
    ]
    if not form.sigv4a:
        timed.append((found.botocore, _signer(form, keys[0])))
    # In turns: what else the machine does falls on all of them.
    rounds = [[median_us(call, 1) for _, call in timed] for _ in range(blocks)]
    for (times, _), each in zip(timed, zip(*rounds, strict=True), strict=True):
        times[form.name] = statistics.median(each)


def signed(form: Form, keys: Keys) -> HttpRequest:
    """A request as an agent signs it: by botocore, but SigV4a, which botocore has no signer for."""
    plain = HttpRequest(form.method, form.host, form.target, (("Host", form.host), *form.headers), form.body)
    if form.sigv4a:
        headers = sigv4.sign(
            plain, access_key=keys[0], secret_key=keys[1], token=keys[2], service=form.service, region="*",
            now=datetime.now(UTC),
        )  # fmt: skip
        return replace(plain, headers=headers)
    request = _asked(form)
    _auth(form, keys).add_auth(request)
    parts = urlsplit(request.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return replace(plain, target=target, headers=tuple((name, str(value)) for name, value in request.headers.items()))


def anew(request: HttpRequest, form: Form, ring: KeyRing) -> HttpRequest:
    """What the gateway does with one request's signature."""
    now = time.time()
    authorization = sigv4.parse_authorization(request)
    _, secret = ring.unseal(authorization.access_key, authorization.token or "", now=now)
    moment = datetime.fromtimestamp(now, UTC)
    sigv4.verify(request, authorization, secret, now=moment)
    if authorization.expires is not None:
        request = sigv4.in_headers(request, authorization)
    headers = sigv4.sign(
        request, access_key=REAL_KEY, secret_key=REAL_SECRET, token=None, service=form.service, region=REGION,
        now=moment,
    )  # fmt: skip
    return replace(request, headers=headers)


def _asked(form: Form) -> Any:
    headers = {"Host": form.host} | dict(form.headers)
    return AWSRequest(form.method, f"https://{form.host}{form.target}", headers=headers, data=form.body)


def _auth(form: Form, keys: Keys | tuple[str, str]) -> Any:
    credentials = Credentials(*keys)
    if form.presigned:
        return S3SigV4QueryAuth(credentials, form.service, REGION, 3600)
    return (S3SigV4Auth if form.service == "s3" else SigV4Auth)(credentials, form.service, REGION)


def _signer(form: Form, keys: Keys) -> Callable[[], None]:
    """botocore's signer over and over on one request: it replaces what it has put there."""
    request, auth = _asked(form), _auth(form, keys)
    url = request.url

    def sign() -> None:
        request.url = url
        auth.add_auth(request)

    return sign


def _judge(form: Form, sent: HttpRequest) -> None:
    """Raise `Failed` unless the request has the signature that botocore gives it with the real key."""
    found = sigv4.parse_authorization(sent)
    request = AWSRequest(sent.method, f"https://{form.host}{sent.target}", data=sent.body)
    for name, value in sent.headers:
        if name.lower() in found.signed_headers:
            request.headers[name] = value
    request.context["timestamp"] = found.timestamp
    auth = (S3SigV4Auth if form.service == "s3" else SigV4Auth)(
        Credentials(REAL_KEY, REAL_SECRET), form.service, REGION
    )
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if expected != found.signature:
        raise Failed(f"{form.name} is not signed as botocore signs it")


def _chunks(size: int, blocks: int) -> float:
    """10^6 bytes a second of CPU: a body of 16 MB in chunks of this size, in pieces as a socket gives them."""
    plain = (
        ("Host", "bucket.s3.us-east-1.amazonaws.com"), ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        ("x-amz-decoded-content-length", str(16 << 20)),
    )  # fmt: skip
    head = HttpRequest("PUT", plain[0][1], "/k", plain, None)
    keys = {"token": None, "service": "s3", "region": REGION, "now": datetime.now(UTC)}
    received = sigv4.sign(head, access_key="AKIA", secret_key="agent's", **keys)  # type: ignore[arg-type]  # noqa: S106
    sent = sigv4.sign(head, access_key=REAL_KEY, secret_key=REAL_SECRET, **keys)  # type: ignore[arg-type]
    body = b"".join(framed(received, "agent's", size, 16 << 20))
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    rates = []
    for _ in range(blocks):
        resigner = Resigner(received, "agent's", sent, REAL_SECRET)
        began = time.thread_time_ns()
        for piece in pieces:
            resigner.feed(piece)
        resigner.close()
        rates.append(len(body) * 1e3 / (time.thread_time_ns() - began))
        if resigner.refused:
            raise Failed(f"a chunk-signed body was refused: {resigner.refused}")
    return statistics.median(rates)


def framed(headers: Headers, secret: str, size: int, total: int) -> Iterator[bytes]:
    """A chunk-signed body of zeros for this head, by a chain of our own: the tests compare it with AWS's examples."""
    chain, data = Chain.of(headers, secret), bytes(size)
    digest = hashlib.sha256(data).hexdigest()
    for _ in range(total // size):
        yield b"%x;chunk-signature=%b\r\n%b\r\n" % (size, chain.chunk(digest).encode(), data)
    yield b"0;chunk-signature=%b\r\n\r\n" % chain.chunk(hashlib.sha256().hexdigest()).encode()
