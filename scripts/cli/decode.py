"""`sluicegate decode`: what the gateway would understand of a request, or why it refuses it. Nothing is sent."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from scripts.cli import written
from scripts.cli.common import fail
from scripts.cli.written import Unreadable

if TYPE_CHECKING:
    from addons.wire import Decoded, HttpRequest, HttpResponse

REQUEST = ("candidates", "service", "operation", "region", "params", "unknown", "refused")  # the members of a line
ANSWER = ("output", "error", "refused")
REFUSED = 1  # the exit code where a request was refused

EXAMPLES = """Show what the gateway would understand of a request: service, operation, region, parameters; or why not.

Examples:

\b
  sluicegate decode request.http                  raw HTTP, as a proxy or an editor shows it; - is standard input
  pbpaste | sluicegate decode -                   a curl line is known by its first word
  sluicegate decode --flow flows.mitm#3           the third call of a mitmproxy dump; without #3, all of them
  sluicegate decode --jsonl requests.jsonl        a request a line, a JSON result a line
  sluicegate decode --response --jsonl answers.jsonl
  sluicegate decode --response answer.http --operation dynamodb:GetItem

\b
A line of --jsonl is {"id", "method", "url", "headers": [[name, value], ...], "body": base64}; its result is
{"id", "candidates": [{"service", "operation"}, ...], "service", "operation", "region", "params"} or
{"id", "refused": reason}. With --response, {"id", "service", "operation", "protocol", "status", "headers", "body"},
where "protocol" may be left out; its result is {"id", "output"} or {"id", "error": {"code", "message", "members"}}.

Exit code: 0 read, 1 refused, 2 wrong usage; --jsonl has the refusals in its lines and ends with 0.
"""


def decode(
    source: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Raw HTTP or a curl line; - for stdin.")
    ] = None,
    flow: Annotated[str | None, typer.Option(metavar="FILE[#N]", help="Flows of a mitmproxy dump.")] = None,
    jsonl: Annotated[Path | None, typer.Option(metavar="FILE", help="A request a line; - for stdin.")] = None,
    response: Annotated[bool, typer.Option("--response", help="Read answers; with --flow, both.")] = False,
    operation: Annotated[str, typer.Option(metavar="SERVICE:OPERATION", help="What a raw answer answers.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a request.")] = False,
    hide: Annotated[
        bool, typer.Option("--hide", help="Hide sensitive parameters, for reports that others see.")
    ] = False,
    unknown_members: Annotated[
        Literal["deny", "allow"],
        typer.Option(help="What wire.unknown_members says; allow names them under `unknown`."),
    ] = "deny",
    cache: Annotated[
        Path | None, typer.Option(help="Where the host index is kept; default ~/.cache/sluicegate/wire.")
    ] = None,
) -> None:
    """Show what the gateway would understand of a request, or why it refuses."""
    if sum(given is not None for given in (source, flow, jsonl)) > 1:
        fail("FILE, --flow and --jsonl: one of them")
    if source is None and flow is None and jsonl is None and sys.stdin.isatty():
        fail("name a file with a request, or pipe one in; see `sluicegate decode --help`")
    unknown = unknown_members == "allow"
    try:
        if jsonl is not None:
            refused = _lines(jsonl, response, cache, unknown)
        else:
            refused = _show(_few(source, flow, response, operation, cache, hide, unknown), as_json)
    except Unreadable as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(_quiet())
    if refused:
        sys.exit(REFUSED)


decode.__doc__ = EXAMPLES


def _few(
    source: Path | None,
    flow: str | None,
    response: bool,
    operation: str,
    cache: Path | None,
    hide: bool,
    unknown: bool,
) -> Iterator[dict[str, Any]]:
    """The results of one request or answer, or of the flows of a dump."""
    if flow is not None:
        _load(cache)
        for request, answer in written.flows(flow):
            yield (read := _read(request, hide, unknown))
            if response and answer and "refused" not in read:
                yield _answer(read["service"], read["operation"], read["protocol"], answer)
        return
    data = sys.stdin.buffer.read() if source in (None, Path("-")) else _bytes(source)
    if response:
        service, colon, name = operation.partition(":")
        if not colon:
            fail("a raw answer does not say what it answers: add --operation SERVICE:OPERATION")
        answer = written.raw_answer(data)
        yield _answer(service, name, None, answer)
        return
    text = data.lstrip()
    _load(cache)
    if text.startswith((b"curl ", b"curl\t", b"$ curl ")):
        yield _read(written.curl(data.decode("utf-8", "surrogateescape")), hide, unknown)
    else:
        yield _read(written.raw(data), hide, unknown)


def _lines(file: Path, response: bool, cache: Path | None, unknown: bool) -> bool:
    """One result a line, as the lines come: a file of any size takes no more memory."""
    if not response:
        _load(cache)
    try:
        with sys.stdin.buffer if file == Path("-") else file.open("rb") as source:
            for text in source:
                if text.strip():
                    print(json.dumps(_line(text, response, unknown)))
    except BrokenPipeError:
        sys.exit(_quiet())
    except OSError as error:
        fail(f"{file} can't be read: {error.strerror}")
    return False


def _line(text: bytes, response: bool, unknown: bool) -> dict[str, Any]:
    identity: Any = None
    try:
        given = written.line(text)
        identity = given.get("id")
        if response:
            service, name, protocol = given.get("service"), given.get("operation"), given.get("protocol")
            if not isinstance(service, str) or not isinstance(name, str) or not isinstance(protocol, str | None):
                raise Unreadable("`service` and `operation` are no text")
            found = _answer(service, name, protocol, written.answer_from_line(given))
        else:
            found = _read(written.from_line(given), False, unknown)
    except Unreadable as error:
        found = {"refused": str(error)}
    wanted = ANSWER if response else REQUEST
    return {"id": identity} | {name: value for name, value in found.items() if name in wanted}


def _read(request: "HttpRequest | Unreadable", hide: bool, unknown: bool) -> dict[str, Any]:
    """What a request is, for a reader, or {"refused", "hint"}."""
    from addons import wire

    if isinstance(request, Unreadable):
        return {"refused": str(request)}
    try:
        decoded: Decoded = wire.decode(request, unknown)
    except wire.Undecodable as error:
        kind = wire.host_kind(request.host)
        hint = error.hint
        if kind == "opaque":
            hint = (
                "It is a host of AWS's that serves no API: the gateway lets it through only where other_hosts names it."
            )
        elif kind == "other":
            hint = "It is no host of AWS's: other_hosts says what the gateway does with it."
        return {"refused": error.reason} | ({"hint": hint} if hint else {})
    return {
        "candidates": [{"service": service, "operation": name} for service, name in decoded.candidates],
        "service": decoded.service,
        "operation": decoded.operation,
        "region": decoded.region,
        "partition": decoded.partition,
        "protocol": decoded.protocol,
        "params": plain(
            (wire.hide_sensitive_input(decoded) if hide else decoded.params) | _events(decoded, request, hide)
        ),
    } | ({"unknown": list(decoded.unknown)} if decoded.unknown else {})


def _events(decoded: "Decoded", request: "HttpRequest", hide: bool) -> dict[str, Any]:
    """The events of a body that is an event stream, under the name of their member: {} where there is none."""
    from addons.wire import hide_sensitive_input
    from addons.wire.asked import STREAM
    from addons.wire.inputevents import input_events, stream_member

    name, media = stream_member(decoded), (request.get("content-type") or "").partition(";")[0]
    if not name or not request.body or media.strip().lower() != STREAM:
        return {}
    events = list(input_events(decoded, request.headers, (request.body,)))
    if hide:
        events = [hide_sensitive_input(replace(decoded, params={name: event}))[name] for event in events]
    return {name: events}


def _answer(service: str, operation: str, protocol: str | None, response: "HttpResponse") -> dict[str, Any]:
    """What an answer says, or {"refused"}."""
    from addons.wire import Protocol, Undecodable, answers

    try:
        spoken = cast(Protocol, protocol) if protocol else answers.protocol_of(service, response)
        answer = answers.decode_answer(service, operation, spoken, response)
    except Undecodable as error:
        return {"refused": error.reason}
    found: dict[str, Any] = {} if answer.output is None else {"output": plain(answer.output)}
    if answer.code is not None:
        found["error"] = {"code": answer.code, "message": answer.message, "members": plain(answer.members)}
    return found


def plain(value: Any) -> Any:
    """Parameters as JSON: blobs {"base64"}, timestamps RFC 3339 with their offset, NaN and infinities as text."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bytes() | bytearray():
            import base64

            return {"base64": base64.b64encode(value).decode()}
        case datetime():
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    return value


def _show(results: Iterator[dict[str, Any]], as_json: bool) -> bool:
    """Print results as they come, as JSON or as YAML; whether one was refused. Everything but printable ASCII is
    escaped: the sender chose these words."""
    import yaml

    refused = False
    for number, result in enumerate(results):
        refused = refused or "refused" in result
        if as_json:
            print(json.dumps(result))
            continue
        shown = dict(result)
        if len(shown.get("candidates", ())) == 1:
            del shown["candidates"]  # itself
        print("---\n" if number else "", end="")
        print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=False, width=110), end="")
    return refused


def _bytes(file: Path | None) -> bytes:
    assert file is not None
    try:
        return file.read_bytes()
    except OSError as error:
        raise Unreadable(f"{file} can't be read: {error.strerror}") from None


def _load(cache: Path | None) -> None:
    """The host index, kept where the person's other caches are."""
    from addons import wire

    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"  # the specification: no relative paths
    directory = cache or base / "sluicegate" / "wire"
    wire.load(directory, _indexing)


def _indexing() -> None:
    from addons.services import indexing  # a second's import, which only the first start waits for

    indexing()


def _quiet() -> int:
    """Standard output is closed: no more is to be written there, not even at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
