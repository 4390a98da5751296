"""AWS-shaped errors in the protocol of the request, so that the caller's SDK raises its own exception with our words.

A refusal is judged by what the request speaks, never by what the model prefers: one service may be called in query,
JSON or CBOR. The shapes are those of Smithy's protocol pages (awsQuery, ec2Query, awsJson, restJson1, restXml,
rpcv2Cbor) and of the S3 API reference, "Error responses". Nothing in here raises, whatever the request holds.
"""

import json
import re
from email.utils import formatdate
from urllib.parse import unquote

import cbor2

from addons.wire import models
from addons.wire.message import Decoded, Headers, HttpRequest, HttpResponse

# What a service calls a plain refusal in its own protocol; the code given is then the generic "AccessDenied".
_EXCEPTION = "AccessDeniedException"
_UNAUTHORIZED = "UnauthorizedOperation"  # EC2 API reference, "Error codes"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
_NOT_TOKEN = re.compile(r"[^!-~]|[;,]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "\r": "&#13;"}
_REST_XML_HOSTS = frozenset({"cloudfront", "route53", "s3-control", "s3-control-fips"})


def refusal(
    request: HttpRequest,
    code: str,
    message: str,
    *,
    request_id: str,
    status: int = 403,
    decoded: Decoded | None = None,
) -> HttpResponse:
    """An error answer. SDKs retry 429 and 5xx: a refusal by policy has neither.

    `code` "AccessDenied" becomes the code that the protocol's services use; others stay. A HEAD gets no body (RFC 9110,
    9.3.2), so its SDK sees the status alone, and the code where a header has it.
    """
    shape = _shape(request, decoded)
    code, request_id = _NOT_TOKEN.sub("?", code) or "AccessDenied", _NOT_TOKEN.sub("?", request_id)
    message = _NOT_XML.sub("\ufffd", message)
    headers, body = _body(shape, request, decoded, code, message, request_id)
    if request.method.upper() == "HEAD":
        body = b""
    length = ("content-length", str(len(body)))
    # The clock lets SDKs whose own is wrong sign anew with the difference, as they do with AWS.
    return HttpResponse(status, (*headers, ("date", formatdate(usegmt=True)), length), body)


def _body(
    shape: str, request: HttpRequest, decoded: Decoded | None, code: str, message: str, request_id: str
) -> tuple[Headers, bytes]:
    """Headers and body of one error shape; code, message and request id are clean."""
    if shape == "s3":
        headers = (("content-type", "application/xml"), ("x-amz-request-id", request_id), ("x-amz-id-2", request_id))
        text = _tags(Code=code, Message=message, RequestId=request_id, HostId=request_id)
        return headers, _document(f"<Error>{text}</Error>")
    common: Headers = (("x-amzn-requestid", request_id),)
    if shape == "ec2":
        code = _UNAUTHORIZED if code == "AccessDenied" else code
        text = f"<Errors><Error>{_tags(Code=code, Message=message)}</Error></Errors>{_tags(RequestID=request_id)}"
        return (("content-type", "text/xml"), *common), _document(f"<Response>{text}</Response>")
    if shape in ("query", "rest-xml"):
        text = f"<Error>{_tags(Type='Sender', Code=code, Message=message)}</Error>{_tags(RequestId=request_id)}"
        return (("content-type", "text/xml"), *common), _document(f"<ErrorResponse>{text}</ErrorResponse>")
    if _query_compatible(request, decoded):
        # Smithy's awsQueryCompatible: the code that the service had when it spoke query.
        common = (*common, ("x-amzn-query-error", f"{code};Sender"))
    code = _EXCEPTION if code == "AccessDenied" else code
    common = (*common, ("x-amzn-errortype", code))
    if shape == "cbor":
        body = cbor2.dumps({"__type": code, "message": message})
        if "x-amz-cbor" in _content_type(request):
            return (("content-type", _content_type(request)), *common), body
        return (("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor"), *common), body
    sent = _content_type(request)
    content_type = "application/json" if shape == "rest-json" else "application/x-amz-json-1.0"
    if shape == "json" and sent == "application/x-amz-json-1.1":
        content_type = sent
    if request.get("smithy-protocol") == "rpc-v2-json":
        content_type, common = "application/json", (("smithy-protocol", "rpc-v2-json"), *common)
    # Models spell the member either way.
    body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
    return (("content-type", content_type), *common), body


def _shape(request: HttpRequest, decoded: Decoded | None) -> str:
    """Which error shape the sender reads: "s3", "ec2", "query", "rest-xml", "json", "rest-json" or "cbor"."""
    content_type = _content_type(request)
    if "x-amz-cbor" in content_type:
        return "cbor"  # Kinesis in Java: JSON 1.1's operations with CBOR bodies
    if decoded is not None:
        if decoded.protocol == "smithy-rpc-v2-cbor":
            return "cbor"
        return "s3" if decoded.service == "s3" else decoded.protocol
    if "rpc-v2-cbor" in (request.get("smithy-protocol") or "") or content_type == "application/cbor":
        return "cbor"
    if content_type.startswith("application/x-amz-json") or request.get("x-amz-target") is not None:
        return "json"
    labels = request.host.lower().partition(":")[0].split(".")
    query = request.target.partition("?")[2]
    form = content_type == "application/x-www-form-urlencoded"
    if form or any(unquote(pair.partition("=")[0]) == "Action" for pair in query.split("&")):
        return "ec2" if labels[0] == "ec2" or labels[0].startswith("ec2-") else "query"
    if _REST_XML_HOSTS & set(labels):
        return "rest-xml"
    if any(label == "s3" or label.startswith(("s3-", "s3express-")) for label in labels):
        return "s3"
    return "rest-xml" if content_type in ("application/xml", "text/xml") else "rest-json"


def _content_type(request: HttpRequest) -> str:
    """The media type without parameters, lower-cased; only visible ASCII, as it may stand in our answer."""
    return _NOT_TOKEN.sub("", (request.get("content-type") or "").partition(";")[0].lower())


def _query_compatible(request: HttpRequest, decoded: Decoded | None) -> bool:
    if request.get("x-amzn-query-mode") is not None:  # SDKs say it themselves
        return True
    if decoded is None:
        return False
    try:
        return "awsQueryCompatible" in models.service_model(decoded.service).metadata
    except KeyError:
        return False


def _document(text: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def _tags(**tags: str) -> str:
    return "".join(f"<{name}>{_escaped(text)}</{name}>" for name, text in tags.items())


def _escaped(text: str) -> str:
    return re.sub("[&<>\"'\r]", lambda found: _ESCAPES[found[0]], text)
