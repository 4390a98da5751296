"""AWS Signature Version 4 and 4a on raw request parts: verifying what an agent signed, signing anew with a real key.

    parse_authorization -> verify -> (presigned: in_headers) -> sign

Served are signatures in the Authorization header and in the query of a presigned URL, by SHA-256 HMAC and by ECDSA
(SigV4a), over the body's hash, an unsigned body where the service takes one, or a chunk-signed body, whose chunks
`addons/wire/chunks.py` checks. SigV2, bearer tokens and S3 Express sessions are refused with a text that says what to
set instead. The algorithm is that of the IAM User Guide, "AWS Signature Version 4 for API requests"; S3's deviations
are those of "Authenticating Requests" in the S3 API reference.
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime
from functools import lru_cache

from addons.wire import canonical, sigv4a
from addons.wire.authorization import (
    ECDSA,
    HMAC,
    Authorization,
    SignatureRefused,
    in_headers,
    not_served,
    parse_authorization,
    presigned,
)
from addons.wire.canonical import S3_FAMILY, ByName, by_name
from addons.wire.chunked import STREAMING
from addons.wire.message import Headers, HttpRequest

__all__ = [
    "Authorization",
    "SignatureRefused",
    "good_until",
    "in_headers",
    "parse_authorization",
    "presigned",
    "sign",
    "verify",
]

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
_REPLACED = frozenset({"authorization", "x-amz-security-token", "x-amz-date", "x-amz-region-set"})
_SIGNED_HEADERS = re.compile(r"SignedHeaders=([^,\s]+)")
_HASH = re.compile(r"[0-9a-f]{64}")


def verify(request: HttpRequest, authorization: Authorization, secret: str, *, now: datetime) -> str:
    """Check that the holder of `secret` signed this request, all of it that AWS would read. Raises `SignatureRefused`.

    Signed must be: host, every x-amz-* header (an unsigned one could be added on the way and would then be signed by
    us), and the body, unless S3 or the operation's model takes an unsigned one. A chunk-signed body is taken only where
    it streams (`body` is None): whoever passes it on must check and sign its chunks. `now` is aware.

    Returns what was signed as a hash: the same for a request and its repetition, whoever changes what is not signed.
    """
    if not request.target.startswith("/"):
        raise SignatureRefused("SignatureDoesNotMatch", "the request target must be a path.")
    headers = by_name(request.headers)
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
    payload = _inbound_payload(request, authorization, headers)
    text = _to_sign(request, headers, names, payload, authorization)
    if not _matches(authorization, text, secret):
        raise SignatureRefused(
            "SignatureDoesNotMatch",
            "the signature does not match the request: it was changed on the way, or signed with another secret. "
            "Check the agent's proxy settings and credentials.",
        )
    return hashlib.sha256(text.encode()).hexdigest()


def good_until(authorization: Authorization) -> float:
    """When a verified signature ends being good, in seconds since the epoch."""
    skew = S3_SKEW if authorization.service in S3_FAMILY else SKEW
    return _signed_at(authorization.timestamp).timestamp() + (authorization.expires or skew)


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
    x-amz-content-sha256 is kept; S3 gets one where there is none. A presigned request goes through `in_headers` first.
    `region` "*" is the region set of an endpoint that takes Signature Version 4a only, and is signed so. ValueError:
    neither a body nor its hash is known, the endpoint takes no signature (an empty service), or the request is still
    signed in its query.
    """
    if not (service and region):
        raise ValueError("the endpoint takes no Signature Version 4")
    if presigned(request.target):
        raise ValueError("the request is still signed in its query")
    timestamp = _stamp(int(now.timestamp()))
    algorithm = ECDSA if region == "*" else HMAC
    kept = [header for header in request.headers if header[0].lower() not in _REPLACED]
    headers = by_name(request.headers)
    asked = _SIGNED_HEADERS.search(headers.get("authorization", [""])[0])
    for name in _REPLACED:
        headers.pop(name, None)
    if "host" not in headers:
        kept.insert(0, ("Host", request.host))
        headers["host"] = [request.host]
    payload = headers["x-amz-content-sha256"][0] if "x-amz-content-sha256" in headers else _hash(request)
    added = [("X-Amz-Date", timestamp)]
    if service in S3_FAMILY and "x-amz-content-sha256" not in headers:
        added.insert(0, ("X-Amz-Content-SHA256", payload))
    if algorithm == ECDSA:
        added.append(("X-Amz-Region-Set", region))
    if token:
        added.append(("X-Amz-Security-Token", token))
    headers |= by_name(added)
    wanted = {"host", "content-type", *(asked[1].split(";") if asked else ())} - _CONNECTION
    names = tuple(sorted([name for name in headers if name in wanted or name.startswith("x-amz-")]))
    made = Authorization(access_key, timestamp[:8], region, service, names, "", timestamp, token, algorithm)
    text = _to_sign(request, headers, names, payload, made)
    signature = sigv4a.sign(text, access_key, secret_key) if algorithm == ECDSA else _hmac(made, text, secret_key)
    credential = f"{algorithm} Credential={access_key}/{made.scope}"
    value = f"{credential}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return (*kept, *added, ("Authorization", value))


@lru_cache(maxsize=4096)
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of one day, region and service. Memoised: four HMACs of the same input for every request of a day."""
    key = hmac.digest(b"AWS4" + secret.encode(), date.encode(), "sha256")
    for part in (region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key  # the cache's repr shows no entry


def _to_sign(
    request: HttpRequest, headers: ByName, names: tuple[str, ...], payload: str, authorization: Authorization
) -> str:
    digest = canonical.digest(request, headers, names, payload, authorization.service)
    return f"{authorization.algorithm}\n{authorization.timestamp}\n{authorization.scope}\n{digest}"


def _hmac(authorization: Authorization, text: str, secret: str) -> str:
    key = signing_key(secret, authorization.timestamp[:8], authorization.region, authorization.service)
    return hmac.digest(key, text.encode(), "sha256").hex()


def _matches(authorization: Authorization, text: str, secret: str) -> bool:
    if authorization.algorithm == ECDSA:
        return sigv4a.matches(authorization.signature, text, authorization.access_key, secret)
    return hmac.compare_digest(_hmac(authorization, text, secret), authorization.signature)


def _hash(request: HttpRequest) -> str:
    if request.body is None:
        raise ValueError("the body has not been read, and its hash is not stated")
    return hashlib.sha256(request.body).hexdigest()


def _inbound_payload(request: HttpRequest, authorization: Authorization, headers: ByName) -> str:
    """The payload line of the canonical request, after checking that the body is what it says."""
    service, query = authorization.service, authorization.expires is not None
    stated = headers.get("x-amz-content-sha256", [authorization.payload])[0]
    s3 = service in S3_FAMILY
    if stated is None and query and s3:
        return "UNSIGNED-PAYLOAD"  # what S3 reads a presigned URL with
    if stated is None:
        if request.body is None:
            raise SignatureRefused("IncompleteSignature", "x-amz-content-sha256 must be there for a streamed body.")
        return _hash(request)
    if stated.startswith("STREAMING-AWS4-"):
        if s3 and stated in STREAMING and request.body is None and not query and authorization.algorithm == HMAC:
            return stated
        raise not_served(
            "a chunk-signed body of this kind", "Send an unsigned trailer or a hashed body, as boto3 and the CLI do."
        )
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
    signed = _signed_at(stamp)
    s3 = authorization.service in S3_FAMILY
    skew, expires = S3_SKEW if s3 else SKEW, authorization.expires
    seconds = (now - signed).total_seconds()
    if expires is not None and seconds > expires:
        text = f"the presigned URL expired {seconds - expires:.0f} s ago: make a new one."
        raise SignatureRefused("AccessDenied" if s3 else "RequestExpired", text)
    if seconds < -skew or (expires is None and seconds > skew):
        raise SignatureRefused(
            "RequestTimeTooSkewed" if s3 else "RequestExpired",
            f"the request was signed for {stamp}, {abs(seconds):.0f} s {'ago' if seconds > 0 else 'ahead'} of the "
            "gateway's clock: set the agent's clock (NTP), or let the SDK sign anew.",
        )


@lru_cache(maxsize=16)
def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _signed_at(stamp: str) -> datetime:
    try:
        return datetime.fromisoformat(stamp)  # its form was checked
    except ValueError:
        raise SignatureRefused("IncompleteSignature", "x-amz-date is no date.") from None


def _shown(name: str) -> str:
    """A header name for a message: the agent's own word, so short and without surprises."""
    return re.sub(r"[^a-z0-9-]", "?", name[:64])
