"""Random requests as botocore's own signers sign them, in headers and in queries, and changed ones that nobody signed.

Each case comes from a seed of its own, so that one failure can be made again alone. The query of a header signature is
in its canonical encoding, as botocore takes it as it is; white space in header values is ASCII's, the only one on which
signers agree.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote

import botocore.auth
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path

from addons.wire.message import HttpRequest
from tests.wire.test_sigv4_botocore import HOST, KEY, NOW, SECRET, TOKEN

SERVICES = ("s3", "s3", "s3express", "s3-object-lambda", "dynamodb", "sts", "lambda", "execute-api")
METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH")
NAMES = (
    "content-type",
    "range",
    "if-match",
    "accept",
    "amz-sdk-request",
    "x-amz-acl",
    "x-amz-target",
    "x-amz-date-x",
)
ANY = "".join(map(chr, range(32, 127))) + "éüßμ€日本\U0001f600\t\n\x00"
PLAIN = "abcXYZ019-_.~"
VALUE = 'abcXYZ019 -_=;,/"\\éü\tß'
UNCHANGED = ("s3", "s3express", "s3-object-lambda")  # services that sign the path as sent


@dataclass(frozen=True, slots=True)
class Case:
    """One request that botocore has signed."""

    seed: int
    service: str
    presigned: bool
    request: HttpRequest


def cases(first: int, count: int) -> Iterator[Case]:
    """Cases number `first` and following."""
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        for seed in range(first, first + count):
            yield _case(seed)


def _case(seed: int) -> Case:
    r = random.Random(seed)
    service, presigned = r.choice(SERVICES), r.random() < 0.4
    s3 = service in UNCHANGED
    path, query = _path(r, s3), _query(r)
    headers = {"Host": HOST} | {_name(r): _text(r, VALUE, 16) for _ in range(r.randrange(4))}
    body = b"" if presigned or r.random() < 0.3 else r.randbytes(r.randrange(60))
    url = f"https://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=r.choice(METHODS), url=url, headers=headers, data=body)
    _signer(service, presigned, r.choice((1, 600, 604_800))).add_auth(request)
    target = request.url.removeprefix(f"https://{HOST}")
    given = tuple((name, str(value)) for name, value in request.headers.items())
    return Case(seed, service, presigned, HttpRequest(request.method, HOST, target, given, body))


def _signer(
    service: str, presigned: bool, expires: int = 600, keys: tuple[str, str, str] = (KEY, SECRET, TOKEN)
) -> Any:
    credentials = Credentials(*keys)
    if presigned:
        signer = S3SigV4QueryAuth if service in UNCHANGED else SigV4QueryAuth
        return signer(credentials, service, "us-east-1", expires)
    return (S3SigV4Auth if service in UNCHANGED else SigV4Auth)(credentials, service, "us-east-1")


def _text(r: random.Random, alphabet: str, longest: int) -> str:
    return "".join(r.choices(alphabet, k=r.randrange(longest + 1)))


def _path(r: random.Random, s3: bool) -> str:
    """A key with any character, or dot segments, empty ones and escapes that must stay as they are."""
    segments = []
    for _ in range(r.randrange(5)):
        odd = r.random()
        if odd < 0.2:
            segments.append(
                r.choice(("", ".", "..", "a%2Fb", "%2e%2e", "a%20b", "~", "a+b", "a;b=c", "(1)!*'", "a%2fb"))
            )
        else:
            segments.append(quote(_text(r, ANY, 10), safe=r.choice(("", "~", "!*'()~", "/~", ":@$,~"))))
    return "/" + "/".join(segments)


def _query(r: random.Random) -> str:
    pairs = []
    for _ in range(r.choice((0, 0, 1, 2, 4))):
        name = _text(r, ANY, 8) if r.random() < 0.5 else r.choice(("versionId", "acl", "Action", "a", "A", ""))
        pairs.append(f"{quote(name, safe='-_.~')}={quote(_text(r, ANY, 8), safe='-_.~')}")
    return "&".join(pairs)


def _name(r: random.Random) -> str:
    return (
        r.choice(NAMES) if r.random() < 0.6 else r.choice(("x-amz-meta-", "x-amz-", "x-")) + _text(r, "abcdef", 5) + "z"
    )


def odd(case: Case) -> str:
    """The name of a form on which signers have differed, or ""."""
    path, _, query = case.request.target.partition("?")
    if query and any(pair.startswith("=") for pair in query.split("&")):
        return "a query parameter without a name"
    if case.service not in UNCHANGED and path.rpartition("/")[2] in (".", ".."):
        return "a path outside S3 that ends in a dot segment"
    return ""


def signature_of_botocore(case: Case, request: HttpRequest, keys: tuple[str, str, str]) -> str:
    """botocore's Authorization header over exactly the headers that a request signs."""
    ours = request.get("authorization") or ""
    names = set(ours.partition("SignedHeaders=")[2].partition(",")[0].split(";"))
    again = AWSRequest(method=request.method, url=f"https://{HOST}{request.target}", data=request.body or b"")
    for name, value in request.headers:
        if name.lower() in names:
            again.headers[name] = value
    again.context["timestamp"] = request.get("x-amz-date")
    signer = _signer(case.service, False, keys=keys)
    text = signer.string_to_sign(again, signer.canonical_request(again))
    signer._inject_signature_to_request(again, signer.signature(text, again))
    return str(again.headers["Authorization"])


def changed(case: Case) -> HttpRequest:
    """The request with one thing changed that the signature has to cover, or that must not be there."""
    r = random.Random(-1 - case.seed)
    while True:
        made = r.choice(CHANGES)(r, case.request)
        if made is not None and not same(case.service, case.request, made):
            return made


def _method(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    return replace(q, method=r.choice(METHODS))


def _byte(text: str, r: random.Random) -> str:
    at = r.randrange(len(text))
    return text[:at] + r.choice(PLAIN + "/%&=") + text[at + 1 :]


def _target(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    return replace(q, target="/" + _byte(q.target, r)[1:])


def _longer(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    more = r.choice(("a=b", "acl", "x-amz-acl=public-read", "Action=DeleteUser", "versionId=1", "X-Amz-Expires=604800"))
    return replace(q, target=q.target + ("&" if "?" in q.target else "?") + more)


def _shorter(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    path, mark, query = q.target.partition("?")
    pairs = query.split("&")
    if not mark:
        return None
    del pairs[r.randrange(len(pairs))]
    return replace(q, target=path + mark + "&".join(pairs))


def _segment(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    path, mark, query = q.target.partition("?")
    return replace(q, target=path + r.choice(("/x", "x", "/..", "%2F", "/./y")) + mark + query)


def _header(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    at = r.randrange(len(q.headers))
    name, value = q.headers[at]
    if not value:
        return None
    return replace(q, headers=(*q.headers[:at], (name, _byte(value, r)), *q.headers[at + 1 :]))


def _without_header(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    at = r.randrange(len(q.headers))
    return replace(q, headers=q.headers[:at] + q.headers[at + 1 :])


def _more_headers(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    name = r.choice(("x-amz-copy-source", "X-Amz-Acl", "x-amz-grant-full-control", "x-amz-website-redirect-location"))
    if q.get(name) is not None:
        return None
    return replace(q, headers=(*q.headers, (name, "a")))


def _twice(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    name, value = r.choice(q.headers)
    return replace(q, headers=(*q.headers, (name, r.choice((value, value + "x", "")))))


def _body(r: random.Random, q: HttpRequest) -> HttpRequest | None:
    if "X-Amz-Signature" in q.target or q.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
        return None
    return replace(q, body=(q.body or b"") + b"x" if r.random() < 0.5 else (q.body or b"x")[1:])


CHANGES: tuple[Callable[[random.Random, HttpRequest], HttpRequest | None], ...] = (
    _method, _target, _target, _longer, _shorter, _segment, _header, _header, _without_header, _more_headers, _twice,
    _body,
)  # fmt: skip


def same(service: str, one: HttpRequest, two: HttpRequest) -> bool:
    """Whether two requests mean the same: case of header names and of the host, runs of spaces in values, spelling and
    order of a query's parameters, outside S3 the path's empty and dot segments, and the header that nobody signs."""

    def meaning(request: HttpRequest) -> Any:
        lower = [(name.lower(), " ".join(value.split())) for name, value in request.headers]
        headers = sorted((name, value.lower() if name == "host" else value) for name, value in lower)
        path, _, query = request.target.partition("?")
        pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, errors="surrogateescape")
        where = path if service in UNCHANGED else normalize_url_path(path)
        return request.method, where, sorted(pairs), headers, request.body

    return bool(meaning(one) == meaning(two))
