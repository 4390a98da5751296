"""What AWS's answer says of itself: its error code and message, and its request id, in every protocol.

Only read for the record. Nothing is decided by it: an answer that can't be read has an error code made of its status.
"""

import json
import re
from http import HTTPStatus
from typing import Any

import cbor2

Headers = tuple[tuple[str, str], ...]
LARGEST = 64 << 10  # bytes of an error's body that are looked at
CODE = re.compile(rb"<Code>([^<]{1,256})</Code>")
MESSAGE = re.compile(rb"<Message>([^<]{0,4096})</Message>", re.IGNORECASE)
REQUEST_IDS = ("x-amzn-requestid", "x-amz-request-id", "x-amz-requestid")
XML_REQUEST_ID = re.compile(rb"<(?:RequestId|requestId|RequestID)>([A-Za-z0-9=+/-]{1,128})</")


def header(headers: Headers, name: str) -> str | None:
    """The first value of a header, or None."""
    return next((value for key, value in headers if key.lower() == name), None)


def request_id(headers: Headers, body: bytes) -> str | None:
    """The service's own id of the request, which AWS's CloudTrail has too."""
    for name in REQUEST_IDS:
        if found := header(headers, name):
            return found[:128]
    if body[:1] == b"<" and (match := XML_REQUEST_ID.search(body[-LARGEST:]) or XML_REQUEST_ID.search(body[:LARGEST])):
        return match[1].decode()
    return None


def error(status: int, headers: Headers, body: bytes) -> tuple[str, str] | None:
    """(code, message) of an error answer, or None for a success.

    json and rest-json: the header X-Amzn-ErrorType or the body's `__type` or `code`, with a namespace before "#" and a
    URL after ":" (Smithy, "AWS JSON 1.1 protocol", operation error serialization); query, ec2 and rest-xml: `<Code>`.
    """
    if status < 400:
        return None
    found = _document(headers, body[:LARGEST])
    code = header(headers, "x-amzn-errortype") or found.get("__type") or found.get("code") or found.get("Code")
    message = found.get("message") or found.get("Message") or found.get("errorMessage") or ""
    if not isinstance(code, str) or not (code := code.partition(":")[0].rpartition("#")[2].strip()):
        code = HTTPStatus(status).phrase.replace(" ", "") if status in HTTPStatus else f"Status{status}"
    return code, message if isinstance(message, str) else ""


def _document(headers: Headers, body: bytes) -> dict[str, Any]:
    """The members of an error's body that matter, whatever it is written in."""
    if b"<Code>" in body:
        found = {"Code": CODE.search(body), "Message": MESSAGE.search(body)}
        return {name: match[1].decode(errors="replace") for name, match in found.items() if match}
    try:
        loaded = cbor2.loads(body) if "cbor" in (header(headers, "content-type") or "") else json.loads(body)
    except (ValueError, EOFError, RecursionError, cbor2.CBORDecodeError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
