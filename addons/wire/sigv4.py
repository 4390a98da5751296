"""AWS Signature Version 4 on raw request parts: verifying what an agent signed, and signing anew with a real key.

    Authorization: AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request,
                   SignedHeaders=<names>, Signature=<hex>

Only header signatures by SHA-256 HMAC are served. Presigned queries, SigV2, SigV4a, bearer tokens and chunk signatures
are refused with a text that says what to set instead. The algorithm is that of the IAM User Guide, "AWS Signature
Version 4 for API requests"; S3's deviations are those of "Authenticating Requests" in the S3 API reference.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from addons.wire.message import Headers, HttpRequest

S3_FAMILY = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})  # paths signed as sent, body hash stated
SKEW = 300  # seconds; IAM User Guide, "Troubleshoot Signature Version 4 signing"
S3_SKEW = 900  # seconds; S3's RequestTimeTooSkewed
UNSIGNED = frozenset({"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})
# The operations outside S3 whose models say `unsignedPayload`: credential scope's service, method, path.
UNSIGNED_OPERATIONS = (
    ("ebs", "PUT", re.compile(r"/snapshots/[^/]+/blocks/[^/]+")),
    ("lex", "POST", re.compile(r"/bot/[^/]+/alias/[^/]+/user/[^/]+/content")),
    ("lex", "POST", re.compile(r"/bots/[^/]+/botAliases/[^/]+/botLocales/[^/]+/sessions/[^/]+/utterance")),
    ("mediastore", "PUT", re.compile(r"/.+")),
    ("omics", "PUT", re.compile(r"/sequencestore/[^/]+/upload/[^/]+/part")),
)
# Never signed: what belongs to one connection may be changed on the way. botocore and the other SDKs leave it out too.
_CONNECTION = frozenset(
    {"connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
_REPLACED = frozenset({"authorization", "x-amz-security-token", "x-amz-date"})
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9_]{1,128})/([0-9]{8})/([a-z0-9-]{1,64})/([A-Za-z0-9_.-]{1,64})"
    r"/aws4_request, *SignedHeaders=([!#$%&'*+.^_`|~0-9a-z;-]{1,4096}), *Signature=([0-9a-f]{64})"
)
_SIGNED_HEADERS = re.compile(r"SignedHeaders=([^,\s]+)")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_HASH = re.compile(r"[0-9a-f]{64}")
_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")  # RFC 3986, 2.3
_SPACES = re.compile(r"[ \t\r\n\v\f]+")
_SIGN_IN = "Sign in with AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, and set no other credentials."


class SignatureRefused(Exception):
    """The request is not signed as it has to be. `code` is AWS's own, `message` says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Authorization:
    """What an Authorization header says; nothing of it is verified yet."""

    access_key: str
    date: str  # of the credential scope, YYYYMMDD
    region: str
    service: str
    signed_headers: tuple[str, ...]  # as listed
    signature: str  # 64 lower-case hexadecimal digits
    timestamp: str  # x-amz-date, YYYYMMDD'T'HHMMSS'Z'
    token: str | None  # x-amz-security-token


def parse_authorization(request: HttpRequest) -> Authorization:
    """Read a request's header signature. Raises `SignatureRefused` for every other way of signing, and for none."""
    _refuse_query_signature(request)
    header = _single(request, "authorization")
    if header is None:
        if b"SignatureVersion=" in (request.body or b""):
            raise _not_served("Signature Version 2", "Update the SDK: it must sign with Signature Version 4.")
        raise SignatureRefused("MissingAuthenticationToken", f"the request is not signed. {_SIGN_IN}")
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise _unread(header)
    if request.all("x-amz-s3session-token"):
        raise _not_served("an S3 Express session", "Set AWS_S3_DISABLE_EXPRESS_SESSION_AUTH=true.")
    timestamp = _single(request, "x-amz-date")
    if timestamp is None or not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureRefused("IncompleteSignature", "x-amz-date must be there once, as YYYYMMDD'T'HHMMSS'Z'.")
    access_key, date, region, service, names, signature = match.groups()
    token = _single(request, "x-amz-security-token")
    return Authorization(access_key, date, region, service, tuple(names.split(";")), signature, timestamp, token)


def verify(request: HttpRequest, authorization: Authorization, secret: str, *, now: datetime) -> None:
    """Check that the holder of `secret` signed this request, all of it that AWS would read. Raises `SignatureRefused`.

    Signed must be: host, every x-amz-* header (an unsigned one could be added on the way and would then be signed by
    us), and the body, unless S3 or the operation's model takes an unsigned one. `now` is aware.
    """
    if not request.target.startswith("/"):
        raise SignatureRefused("SignatureDoesNotMatch", "the request target must be a path.")
    headers = _by_name(request.headers)
    names = authorization.signed_headers
    if list(names) != sorted(set(names)):
        raise SignatureRefused("IncompleteSignature", "SignedHeaders must be sorted, each name once.")
    if "host" not in names:
        raise SignatureRefused("IncompleteSignature", "host must be among the SignedHeaders.")
    if headers.get("host", [""])[0].lower().removesuffix(":443") != request.host:
        raise SignatureRefused("SignatureDoesNotMatch", "the Host header names another host than the connection.")
    for name in headers:
        if name.startswith("x-amz-") and name not in names:
            raise SignatureRefused("IncompleteSignature", f"the header {_shown(name)} must be signed.")
    for name in names:
        if len(headers.get(name, ())) != 1:
            raise SignatureRefused("IncompleteSignature", f"the signed header {_shown(name)} must be there once.")
    _check_time(authorization, now)
    payload = _inbound_payload(request, authorization.service, headers)
    scope = _Scope(authorization.timestamp, authorization.region, authorization.service)
    if not hmac.compare_digest(_signature(request, headers, names, payload, secret, scope), authorization.signature):
        raise SignatureRefused(
            "SignatureDoesNotMatch",
            "the signature does not match the request: it was changed on the way, or signed with another secret. "
            "Check the agent's proxy settings and credentials.",
        )


def sign(
    request: HttpRequest,
    *,
    access_key: str,
    secret_key: str,
    token: str | None,
    service: str,
    region: str,
    now: datetime,
) -> Headers:
    """The complete header list to send: the request's own, with the authentication headers replaced. `now` is aware.

    Signed are host, content-type, every x-amz-* header and whatever the agent had signed that is still there. A stated
    x-amz-content-sha256 is kept; S3 gets one where there is none. ValueError: neither a body nor its hash is known, or
    the endpoint takes no Signature Version 4 (an empty service).
    """
    if not (service and region):
        raise ValueError("the endpoint takes no Signature Version 4")
    timestamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = [header for header in request.headers if header[0].lower() not in _REPLACED]
    headers = _by_name(kept)
    if "host" not in headers:
        kept.insert(0, ("Host", request.host))
    payload = headers["x-amz-content-sha256"][0] if "x-amz-content-sha256" in headers else _hash(request)
    if service in S3_FAMILY and "x-amz-content-sha256" not in headers:
        kept.append(("X-Amz-Content-SHA256", payload))
    kept.append(("X-Amz-Date", timestamp))
    if token:
        kept.append(("X-Amz-Security-Token", token))
    headers = _by_name(kept)
    asked = _SIGNED_HEADERS.search(request.get("authorization") or "")
    wanted = {"host", "content-type", *(asked[1].split(";") if asked else ())} - _CONNECTION
    names = tuple(sorted(name for name in headers if name in wanted or name.startswith("x-amz-")))
    scope = _Scope(timestamp, region, service)
    signature = _signature(request, headers, names, payload, secret_key, scope)
    kept.append(
        (
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential={access_key}/{scope.text}, SignedHeaders={';'.join(names)}, "
            f"Signature={signature}",
        )
    )
    return tuple(kept)


class _Scope(NamedTuple):
    timestamp: str
    region: str
    service: str

    @property
    def text(self) -> str:
        return f"{self.timestamp[:8]}/{self.region}/{self.service}/aws4_request"


@lru_cache(maxsize=4096)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    # Memoised: four HMACs of the same input for every request of a day. The cache's repr shows no entry.
    key = hmac.digest(b"AWS4" + secret.encode(), date.encode(), "sha256")
    for part in (region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _signature(
    request: HttpRequest,
    headers: dict[str, list[str]],
    names: tuple[str, ...],
    payload: str,
    secret: str,
    scope: _Scope,
) -> str:
    path, _, query = request.target.partition("?")
    lines = "".join([f"{name}:{','.join([_trimmed(value) for value in headers[name]])}\n" for name in names])
    canonical = (
        f"{request.method}\n{_canonical_path(path, scope.service)}\n{_canonical_query(query)}\n"
        f"{lines}\n{';'.join(names)}\n{payload}"
    )
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{scope.timestamp}\n{scope.text}\n{digest}"
    key = _signing_key(secret, scope.timestamp[:8], scope.region, scope.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


def _canonical_path(path: str, service: str) -> str:
    """S3 signs the path as sent; the others without empty and dot segments, and encoded a second time."""
    if service in S3_FAMILY:
        return path or "/"
    if path in ("", "/"):
        return "/"
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    last = "/" if segments and path.endswith("/") else ""
    return quote(("/" + "/".join(segments) + last).encode("utf-8", "surrogateescape"), safe="/~")


def _canonical_query(query: str) -> str:
    """Names and values in their one encoding (RFC 3986, unreserved characters bare), sorted."""
    if not query:
        return ""
    pairs = [pair.partition("=") for pair in query.split("&")]
    return "&".join([f"{name}={value}" for name, value in sorted([(_encoded(n), _encoded(v)) for n, _, v in pairs])])


def _encoded(text: str) -> str:
    if _UNRESERVED.fullmatch(text):
        return text
    return quote(unquote_to_bytes(text.encode("utf-8", "surrogateescape")), safe="-_.~")


def _trimmed(value: str) -> str:
    if value.isascii() and value.isprintable():
        return " ".join(value.split())  # its only white space is the space
    return _SPACES.sub(" ", value.strip(" \t\r\n\v\f"))


def _by_name(headers: Headers | list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def _hash(request: HttpRequest) -> str:
    if request.body is None:
        raise ValueError("the body has not been read, and its hash is not stated")
    return hashlib.sha256(request.body).hexdigest()


def _inbound_payload(request: HttpRequest, service: str, headers: dict[str, list[str]]) -> str:
    """The payload line of the canonical request, after checking that the body is what it says."""
    stated = headers.get("x-amz-content-sha256", [None])[0]
    s3 = service in S3_FAMILY
    if stated is None:
        if request.body is None:
            raise SignatureRefused("IncompleteSignature", "x-amz-content-sha256 must be there for a streamed body.")
        return _hash(request)
    if stated.startswith("STREAMING-AWS4-"):
        raise _not_served("a chunk-signed body", "Send an unsigned trailer or a hashed body, as boto3 and the CLI do.")
    if stated in UNSIGNED:
        if s3 or (stated == "UNSIGNED-PAYLOAD" and _takes_unsigned(request, service)):
            return stated
        raise SignatureRefused("SignatureDoesNotMatch", f"{service} takes no unsigned body: let the SDK hash it.")
    if not _HASH.fullmatch(stated):
        raise SignatureRefused(
            "IncompleteSignature", "x-amz-content-sha256 must be a SHA-256 hash or UNSIGNED-PAYLOAD."
        )
    if request.body is None:
        if s3:
            return stated  # AWS checks it when the body has arrived
        raise SignatureRefused("IncompleteSignature", f"{service} takes no streamed body with a hash.")
    if not hmac.compare_digest(_hash(request), stated):
        code = "XAmzContentSHA256Mismatch" if s3 else "SignatureDoesNotMatch"
        raise SignatureRefused(code, "x-amz-content-sha256 is not the hash of the body: it was changed on the way.")
    return stated


def _takes_unsigned(request: HttpRequest, service: str) -> bool:
    path = request.target.partition("?")[0]
    return any(
        service == name and request.method == method and pattern.fullmatch(path)
        for name, method, pattern in UNSIGNED_OPERATIONS
    )


def _check_time(authorization: Authorization, now: datetime) -> None:
    stamp = authorization.timestamp
    if authorization.date != stamp[:8]:
        raise SignatureRefused("SignatureDoesNotMatch", "the credential scope's date is not that of x-amz-date.")
    parts = (stamp[:4], stamp[4:6], stamp[6:8], stamp[9:11], stamp[11:13], stamp[13:15])
    try:
        signed = datetime(*map(int, parts), tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        raise SignatureRefused("IncompleteSignature", "x-amz-date is no date.") from None
    s3 = authorization.service in S3_FAMILY
    seconds = (now - signed).total_seconds()
    if abs(seconds) > (S3_SKEW if s3 else SKEW):
        raise SignatureRefused(
            "RequestTimeTooSkewed" if s3 else "RequestExpired",
            f"the request was signed for {stamp}, {abs(seconds):.0f} s {'ago' if seconds > 0 else 'ahead'} of the "
            "gateway's clock: set the agent's clock (NTP), or let the SDK sign anew.",
        )


def _single(request: HttpRequest, name: str) -> str | None:
    values = request.all(name)
    if len(values) > 1:
        raise SignatureRefused("IncompleteSignature", f"the header {name} stands more than once.")
    return values[0] if values else None


def _shown(name: str) -> str:
    """A header name for a message: the agent's own word, so short and without surprises."""
    return re.sub(r"[^a-z0-9-]", "?", name[:64])


def _not_served(what: str, instead: str) -> SignatureRefused:
    return SignatureRefused("IncompleteSignature", f"{what} is not served in this version. {instead}")


def _refuse_query_signature(request: HttpRequest) -> None:
    query = request.target.partition("?")[2]
    if not query:
        return
    names = {
        unquote_to_bytes(pair.partition("=")[0].encode("utf-8", "surrogateescape")).lower() for pair in query.split("&")
    }
    if names & {b"x-amz-signature", b"x-amz-algorithm", b"x-amz-credential", b"x-amz-security-token"}:
        raise _not_served(
            "a presigned URL", "Call the operation through the SDK, which signs in the Authorization header."
        )
    if b"awsaccesskeyid" in names or b"signatureversion" in names:
        raise _not_served(
            "Signature Version 2",
            'Set signature_version="s3v4" (boto3 Config), and call the operation, no presigned URL.',
        )


def _unread(header: str) -> SignatureRefused:
    scheme = header.split(" ", 1)[0]
    if scheme.upper().startswith("AWS4-ECDSA"):
        return _not_served(
            "Signature Version 4a", "Set AWS_AUTH_SCHEME_PREFERENCE=sigv4; use no multi-region endpoint."
        )
    if scheme.lower() == "bearer":
        return _not_served("a bearer token", "Unset AWS_BEARER_TOKEN_BEDROCK and set AWS_AUTH_SCHEME_PREFERENCE=sigv4.")
    if scheme in ("AWS", "AWS3", "AWS3-HTTPS"):
        return _not_served("Signature Version 2", 'Set signature_version="s3v4" (boto3 Config), or update the SDK.')
    if scheme == "AWS4-HMAC-SHA256":
        return SignatureRefused(
            "IncompleteSignature",
            "Authorization must be Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=..., Signature=...",
        )
    return SignatureRefused("IncompleteSignature", f"Authorization is of a kind that AWS does not know. {_SIGN_IN}")
