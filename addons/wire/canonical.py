"""The canonical request: the one spelling of a request that its signature covers.

IAM User Guide, "Create a signed AWS API request"; S3's paths: S3 API reference, "Authenticating Requests".
"""

import hashlib
import re
from urllib.parse import quote, unquote_to_bytes

from addons.wire.message import Headers, HttpRequest

S3_FAMILY = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})  # paths signed as sent, body hash stated
ByName = dict[str, list[str]]  # lower-case names; every value, in order
# Unreserved characters bare (RFC 3986, 2.3), every other byte escaped in capitals: the one encoding there is.
_ESCAPED = r"[0189A-F][0-9A-F]|2[0-9ABCF]|3[A-F]|40|5[B-E]|60|7[BCDF]"
_CANONICAL = re.compile(rf"(?:[A-Za-z0-9_.~-]++|%(?:{_ESCAPED}))*+")
_TRIM = re.compile(r"[!-~]++(?: [!-~]++)*+")
_SPACES = re.compile(r"[ \t\r\n\v\f]+")
_SIGNATURE = "X-Amz-Signature="


def by_name(headers: Headers | list[tuple[str, str]]) -> ByName:
    """Headers by lower-case name."""
    found: ByName = {}
    for name, value in headers:
        if (key := name.lower()) in found:
            found[key].append(value)
        else:
            found[key] = [value]
    return found


def digest(request: HttpRequest, headers: ByName, names: tuple[str, ...], payload: str, service: str) -> str:
    """The SHA-256 of the canonical request, in hexadecimal digits. `names`: the signed headers; `payload`: its line.

    A query's own signature (X-Amz-Signature) is left out, as nothing signs itself.
    """
    path, _, query = request.target.partition("?")
    lines = "".join([f"{name}:{','.join([_trimmed(value) for value in headers[name]])}\n" for name in names])
    canonical = f"{request.method}\n{_path(path, service)}\n{_query(query)}\n{lines}\n{';'.join(names)}\n{payload}"
    return hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()


def _path(path: str, service: str) -> str:
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


def _query(query: str) -> str:
    """Names and values in their one encoding (RFC 3986, unreserved characters bare), sorted."""
    if not query:
        return ""
    pairs = [pair.partition("=") for pair in query.split("&") if not pair.startswith(_SIGNATURE)]
    return "&".join([f"{name}={value}" for name, value in sorted([(_encoded(n), _encoded(v)) for n, _, v in pairs])])


def _encoded(text: str) -> str:
    if _CANONICAL.fullmatch(text):
        return text
    return quote(unquote_to_bytes(text.encode("utf-8", "surrogateescape")), safe="-_.~")


def _trimmed(value: str) -> str:
    if _TRIM.fullmatch(value):
        return value
    return _SPACES.sub(" ", value.strip(" \t\r\n\v\f"))
