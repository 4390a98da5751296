"""Requests and answers as people have them: raw HTTP, a curl line, flows of a dump, JSON lines. Nothing is sent."""

import base64
import binascii
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from addons.wire import Headers, HttpRequest, HttpResponse

FORM = "application/x-www-form-urlencoded"
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?([^/?#]*)(.*)", re.DOTALL)
_ANSI_C = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.DOTALL)
_LINE = re.compile(rb"\r?\n")
# curl's options: those that make the request, those with a value that do not, those without one.
_DATA = {"-d", "--data", "--data-ascii", "--data-raw", "--data-binary", "--json"}
_WITH_VALUE = (
    "-o --output -x --proxy --cacert --capath --cert --key -m --max-time --connect-timeout --resolve --connect-to "
    "-w --write-out -D --dump-header --retry -c --cookie-jar --aws-sigv4 -u --user --proxy-cacert --ciphers"
)
_WITHOUT = (
    "s S v k i L f g N q # 0 1 2 3 silent show-error verbose insecure include location fail fail-with-body globoff "
    "no-buffer compressed http1.0 http1.1 http2 http2-prior-knowledge path-as-is tlsv1.2 tlsv1.3 ssl-reqd"
)
_VALUE, _PLAIN = frozenset(_WITH_VALUE.split()), frozenset(_WITHOUT.split())


class Unreadable(Exception):
    """It is no request in any of these forms; the text says where it is not."""


def at(url: str) -> tuple[str, str]:
    """(host with port, target in origin form) of a URL, nothing normalised. The fragment is never sent."""
    found = _URL.fullmatch(url)
    assert found
    host, target = found[1], found[2].partition("#")[0]
    return host.rpartition("@")[2], target if target.startswith("/") else "/" + target


def request(method: str, host: str, target: str, headers: list[tuple[str, str]], body: bytes) -> HttpRequest:
    """A request for a host. Raises `Unreadable` where a Host header names another one, or a port that is not 443."""
    named = host.lower().removesuffix(":443")
    for name, value in headers:
        if name.lower() in ("host", ":authority") and value.strip().lower().removesuffix(":443") != named:
            raise Unreadable(f"the URL is for {named} and the {name} header for {value}")
    if not named:
        raise Unreadable("it names no host")
    if ":" in named:
        raise Unreadable(f"AWS's APIs are on port 443; this is for {named}")
    kept = tuple((name, value) for name, value in headers if not name.startswith(":"))
    return HttpRequest(method, named, target, kept, body)


def raw(data: bytes) -> HttpRequest:
    """A request as HTTP/1.1 has it; lines may end in LF alone, as in files that people keep."""
    line, headers, body = message(data)
    parts = line.split(" ")
    if len(parts) not in (2, 3) or (len(parts) == 3 and not parts[2].startswith("HTTP/")):
        raise Unreadable('the first line is not like "POST / HTTP/1.1"')
    method, target = parts[:2]
    host = next((value.strip() for name, value in headers if name.lower() == "host"), "")
    if not target.startswith("/"):
        host, target = at(target)
    return request(method, host, target, headers, body)


def raw_answer(data: bytes) -> HttpResponse:
    """An answer as HTTP/1.1 has it."""
    line, headers, body = message(data)
    found = re.fullmatch(r"HTTP/[\d.]+ (\d{3})(?: .*)?", line)
    if not found:
        raise Unreadable('the first line is not like "HTTP/1.1 200 OK"')
    return HttpResponse(int(found[1]), tuple(headers), body)


def message(data: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """(first line, headers, body) of an HTTP/1.1 message."""
    head: list[str] = []
    at_end = 0
    for end in _LINE.finditer(data):
        text, at_end = data[at_end : end.start()], end.end()
        if not text and head:
            break
        if text:
            head.append(text.decode("utf-8", "surrogateescape"))
    else:
        if data[at_end:]:
            head.append(data[at_end:].decode("utf-8", "surrogateescape"))
        at_end = len(data)
    if not head:
        raise Unreadable("it is empty")
    headers = []
    for line in head[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Unreadable(f"{line[:60]!r} is no header")
        headers.append((name, value.strip(" \t")))
    return head[0], headers, _framed(headers, data[at_end:])


def _framed(headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The body by its own framing: what an editor put behind it is no part of it."""
    given = {name.lower(): value for name, value in headers}
    if "chunked" in given.get("transfer-encoding", "").lower():
        return _dechunked(body)
    length = given.get("content-length", "")
    if length.isascii() and length.isdecimal():
        if len(body) < int(length):
            raise Unreadable(f"the body has {len(body)} of its {length} bytes")
        if body[int(length) :].strip(b"\r\n"):
            raise Unreadable(f"the body has {len(body)} bytes, more than its {length}")
        return body[: int(length)]
    return body


def _dechunked(body: bytes) -> bytes:
    found, at_byte = bytearray(), 0
    while True:
        head = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\r\n]*)?\r?\n").match(body, at_byte)
        if head is None:
            raise Unreadable("the chunked body is broken")
        size, at_byte = int(head[1], 16), head.end()
        if size == 0:
            return bytes(found)
        if at_byte + size > len(body):
            raise Unreadable("the chunked body breaks off")
        found += body[at_byte : at_byte + size]
        ending = _LINE.match(body, at_byte := at_byte + size)
        if ending is None:
            raise Unreadable("the chunked body is broken")
        at_byte = ending.end()


def curl(text: str) -> HttpRequest:
    """A curl command line. Files that it names (`-d @file`) are read, nothing else of it is done."""
    try:
        words = shlex.split(_ANSI_C.sub(_quoted, text.strip().removeprefix("$ ")).replace("\\\n", " "))
    except ValueError as error:
        raise Unreadable(f"the command line is not whole: {error}") from None
    method, url, headers, data, query, form = "", "", [], [], False, True
    rest = iter(_single(words[1:]))
    for word in rest:
        if word in ("-X", "--request"):
            method = _next(rest, word)
        elif word in ("-H", "--header"):
            name, _, value = _next(rest, word).partition(":")
            headers.append((name.strip(), value.strip()))
        elif word in _DATA:
            data.append(_data(word, _next(rest, word)))
            form = form and word != "--json"
        elif word in ("-A", "--user-agent"):
            headers.append(("User-Agent", _next(rest, word)))
        elif word in ("-b", "--cookie"):
            headers.append(("Cookie", _next(rest, word)))
        elif word in ("-T", "--upload-file"):
            data.append(_file(_next(rest, word)))
            method, form = method or "PUT", False
        elif word in ("-G", "--get"):
            query = True
        elif word in ("-I", "--head"):
            method = method or "HEAD"
        elif word == "--url":
            url = _next(rest, word)
        elif word in _VALUE:
            _next(rest, word)
        elif word.startswith("-") and word.lstrip("-") not in _PLAIN:
            raise Unreadable(f"curl's option {word} is not known here: leave it out, or write it in the long form")
        elif not word.startswith("-"):
            url = url or word
    if not url:
        raise Unreadable("the curl line has no URL")
    host, target = at(url)
    body = b"&".join(data)
    if query and data:
        target, body = f"{target}{'&' if '?' in target else '?'}{body.decode('utf-8', 'surrogateescape')}", b""
    elif data and method != "PUT" and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", FORM if form else "application/json"))
    return request(method or ("POST" if data and not query else "GET"), host, target, headers, body)


def _quoted(found: re.Match[str]) -> str:
    """bash's $'...', which browsers write, as a plain word."""
    return shlex.quote(found[1].encode("raw_unicode_escape").decode("unicode_escape"))


def _single(words: list[str]) -> Iterator[str]:
    """`-sS` as `-s -S`, `-XPOST` as `-X POST`, `--url=x` as `--url x`."""
    for word in words:
        if re.match(r"--[a-z0-9.-]+=", word):
            yield from word.split("=", 1)
        elif re.match(r"-[A-Za-z#0-9]{2}", word):
            for position, letter in enumerate(word[1:], 1):
                yield f"-{letter}"
                if letter not in _PLAIN and letter not in "GI":
                    if word[position + 1 :]:
                        yield word[position + 1 :]
                    break
        else:
            yield word


def _next(rest: Iterator[str], option: str) -> str:
    try:
        return next(rest)
    except StopIteration:
        raise Unreadable(f"curl's option {option} has no value") from None


def _data(option: str, value: str) -> bytes:
    if option == "--data-raw" or not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    read = _file(value[1:])
    return read if option in ("--data-binary", "--json") else re.sub(rb"[\r\n\0]", b"", read)


def _file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Unreadable(f"{name}, which the curl line names, can't be read: {error.strerror}") from None


def flows(name: str) -> Iterator[tuple[HttpRequest | Unreadable, HttpResponse | None]]:
    """The requests and answers of a mitmproxy dump, FILE or FILE#N (the Nth HTTP flow, from 1)."""
    from mitmproxy import exceptions, http, io  # here: it takes half a second, which raw requests need not wait for

    from addons.flows import headers_of

    file, mark, number = name.rpartition("#")
    if not mark or not number.isdecimal() or Path(name).exists():
        file, number = name, ""
    count = 0
    try:
        with open(file, "rb") as dump:
            for flow in io.FlowReader(dump).stream():
                if not isinstance(flow, http.HTTPFlow):
                    continue
                count += 1
                if number and count != int(number):
                    continue
                there, answer = flow.request, flow.response
                host = there.host_header or there.host
                try:
                    asked: HttpRequest | Unreadable = request(
                        there.method, host, there.path, list(headers_of(there)), there.raw_content or b""
                    )
                except Unreadable as error:
                    asked = error
                yield (
                    asked,
                    HttpResponse(answer.status_code, headers_of(answer), answer.raw_content or b"") if answer else None,
                )
    except OSError as error:
        raise Unreadable(f"{file} can't be read: {error.strerror}") from None
    except exceptions.FlowReadException as error:
        raise Unreadable(f"{file} is no dump of mitmproxy's: {error}") from None
    if not count or (number and count < int(number)):
        raise Unreadable(f"{file} holds {count} HTTP flows" + (f", no number {number}" if number else ""))


def line(text: str | bytes) -> dict[str, Any]:
    """One line of JSON, an object. Raises `Unreadable`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("the line is not JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("the line is no object")
    return found


def from_line(given: dict[str, Any]) -> HttpRequest:
    """{"method", "url", "headers": [[name, value], ...], "body": base64} as a request."""
    host, target = at(_text(given, "url"))
    return request(_text(given, "method"), host, target, list(_headers(given)), _body(given))


def answer_from_line(given: dict[str, Any]) -> HttpResponse:
    """{"status", "headers", "body": base64} as an answer."""
    status = given.get("status")
    if type(status) is not int or not 100 <= status <= 599:
        raise Unreadable("`status` is no HTTP status")
    return HttpResponse(status, _headers(given), _body(given))


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise Unreadable(f"`{name}` is no text")
    return value


def _headers(given: dict[str, Any]) -> Headers:
    found = given.get("headers") or []
    if not isinstance(found, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair) for pair in found
    ):
        raise Unreadable("`headers` is no list of [name, value]")
    return tuple((name, value) for name, value in found)


def _body(given: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(given.get("body") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Unreadable("`body` is not base64") from None
