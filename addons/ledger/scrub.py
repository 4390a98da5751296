"""What never reaches a recording: credentials, signatures, cookies and keys, in headers, targets and forms."""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

Headers = tuple[tuple[str, str], ...]
GONE = "[removed by sluicegate]"

SECRET_HEADERS = re.compile(
    "authorization|proxy-authorization|cookie|set-cookie|x-amz-security-token|x-amz-s3session-token"
    "|x-amz(-copy-source)?-server-side-encryption-customer-key(-md5)?|x-amz-authorization-token|x-amz-.*-token"
    "|x-amz-mfa|.*api-?key|.*secret.*",
    re.IGNORECASE,
)
# Presigned URLs, SigV4 and SigV2, POST forms, and the credentials that STS and SSO take as parameters.
SECRET_PARAMETERS = frozenset(
    {
        *("x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-amz-s3session-token", "x-amz-policy"),
        *(
            "signature",
            "awsaccesskeyid",
            "policy-signature",
            "key-pair-id",
            "webidentitytoken",
            "samlassertion",
            "token",
        ),
        *("x-amz-server-side-encryption-customer-key", "x-amz-server-side-encryption-customer-key-md5"),
    }
)
URL_SECRET = re.compile(
    r"(?i)((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId)(?:=|%3D))[^&\s\"'<>\\]+"
)

URL_SECRET_BYTES = re.compile(URL_SECRET.pattern.encode())

# Of a request whose parameters are hidden only these are kept: any other header may be bound to a hidden one.
PLAIN_HEADERS = frozenset(
    {"host", "content-type", "user-agent", "x-amz-target", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"}
)


def headers(given: Iterable[tuple[str, str]]) -> Headers:
    """The headers, with every value that proves or carries something replaced."""
    return tuple((name, header(name, value)) for name, value in given)


def header(name: str, value: str) -> str:
    """The value of one header, replaced where it proves or carries something."""
    return GONE if _secret(name) else urls(value)


@lru_cache(maxsize=256)
def _secret(name: str) -> bool:
    return SECRET_HEADERS.fullmatch(name) is not None


def replaced(given: Headers, size: int, note: str, *, plain_only: bool = False) -> Headers:
    """The headers of a message whose body was replaced by one of `size` bytes."""
    kept = ((name, value) for name, value in given if not plain_only or name.lower() in PLAIN_HEADERS)
    framing = {"content-length", "content-encoding", "transfer-encoding"}
    left = tuple((name, value) for name, value in kept if name.lower() not in framing)
    return (*left, ("content-length", str(size)), ("x-sluicegate-note", note))


def target(path: str) -> str:
    """A request target without the values of a presigned query."""
    plain, mark, query = path.partition("?")
    return plain + mark + "&".join(map(_pair, query.split("&"))) if mark else plain


def _pair(pair: str) -> str:
    name, mark, _ = pair.partition("=")
    return f"{name}=removed" if mark and unquote(name).lower() in SECRET_PARAMETERS else pair


def urls(text: str) -> str:
    """Text without the values of presigned URLs in it (Location, copy sources)."""
    return URL_SECRET.sub(r"\1removed", text) if "=" in text or "%" in text else text


def body(data: bytes) -> bytes:
    """The same for a body, without touching any other byte of it."""
    # Most bodies have none: two plain searches find that out far faster than a search without regard to case.
    low = data.lower()
    if b"x-amz-" not in low and b"awsaccesskeyid" not in low:
        return data
    return URL_SECRET_BYTES.sub(rb"\1removed", data)
