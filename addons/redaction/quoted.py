"""AWS's errors about a signature quote what was signed: the access key, and the canonical request with the token in it.

S3 API Reference, "Error responses" (SignatureDoesNotMatch, ExpiredToken, InvalidAccessKeyId); IAM User Guide,
"Troubleshoot Signature Version 4 signing". S3 gives the canonical request in hexadecimal digits as well.
"""

import re
from collections.abc import Collection

from addons.redaction.effects import decoded_body
from addons.wire.message import HttpResponse

_ESCAPED = re.compile(rb"\\u00([0-7][0-9a-fA-F])")  # as some write JSON
_CODE = re.compile(rb'<Code>([A-Za-z]{3,60})</Code>|"(?:__type|code)" *: *"(?:[\w.]*#)?([A-Za-z]{3,60})"')


def quotes(response: HttpResponse, values: Collection[str | None]) -> bool:
    """Whether an answer has one of these values in it. Raises `Unredactable` where its body can't be read."""
    if not values:
        return False
    text = _text(response)
    digits = text.lower()
    return any(
        value and ((raw := value.encode()) in text or raw.hex(" ").encode() in digits or raw.hex().encode() in digits)
        for value in values
    )


def code_of(response: HttpResponse) -> str:
    """The code of an error, or AccessDenied where none is found. Raises as `quotes` does."""
    found = _CODE.search(_text(response))
    return (found[1] or found[2]).decode() if found else "AccessDenied"


def _text(response: HttpResponse) -> bytes:
    """Headers and body, without escapes."""
    headers = "\n".join(value for _, value in response.headers).encode("utf-8", "surrogateescape")
    text = decoded_body(response) + b"\n" + headers
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), text.replace(b"\\/", b"/"))
