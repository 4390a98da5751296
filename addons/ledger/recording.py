"""Recorded sessions: plain `.mitm` files that stock `mitmweb -r` and `mitmdump -nr` open, with nothing secret in them.

mitmproxy's own save is not used: it writes the flow as it was signed and what was there before an edit, ends the whole
proxy when the disk is full, and appends to a torn file so that everything after the tear is unreadable. This writer
encodes the client's view of a call straight from the values that it is given, scrubbed, one flow at a time.

    <directory>/<session id>/0001.mitm        flows, each `<length>:<data>}` (a tnetstring dictionary)
"""

import contextlib
import functools
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mitmproxy import connection, http, version
from mitmproxy.io import tnetstring

from addons.ledger import scrub
from addons.ledger.encoding import plain
from addons.ledger.files import AppendFile, Vanished
from addons.ledger.log import LedgerUnavailable

FILE = re.compile(r"[0-9]{4,6}\.mitm")
LENGTH = re.compile(rb"([0-9]{1,12}):")
SESSION_ID = re.compile(r"[0-9a-f][0-9a-f-]{0,127}")
LARGEST_FILE = 256 << 20  # bytes; the next flow begins a new file
OPEN_FILES = 64
SEEN = 1_024  # connections whose encoding is kept
LOOK = 1.0  # seconds between looks whether a file is still there
SHORT = 256  # characters of a header's value whose encoding is kept
NOTHING = b"0:~"  # None
Headers = tuple[tuple[str, str], ...]
_End = tuple[int, int, int]  # of a file: its number, its size, how many flows are in it


class SessionRecorder:
    """Appends flows to their session's file. Its methods block: call them from a thread. Any number may at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._ends: dict[str, _End] = {}  # of sessions whose file was closed to open another one
        self._connections: dict[tuple[Any, ...], bytes] = {}
        self._lock = threading.Lock()
        self.healthy = True  # whether the last flow could be written

    def append(
        self,
        session_id: str,
        flow: http.HTTPFlow,
        *,
        request_headers: Headers,
        request_body: bytes,
        response_headers: Headers,
        response_body: bytes,
        scheme: str,
        host: str,
        port: int,
        metadata: Mapping[str, Any],
        request_note: str = "",
        request_hidden: Collection[str] | None = None,
        response_note: str = "",
    ) -> str:
        """Write one call as its client sees it; returns where it is, "<session>/0001.mitm#<n>", n from 0.

        `response_body` is the masked one. A body that is not what was sent has a note that says why. `request_hidden`:
        parameters in the request are hidden, these texts among them: its query, the parts of the path that are one of
        them, and all headers that may repeat them are left out too. Of `flow` nothing is read but ids, times, method,
        target, status, comment and connections. Flushed, not synced: the proof is the log. Raises `LedgerUnavailable`,
        and ValueError for a session id that is none.
        """
        if not SESSION_ID.fullmatch(session_id):
            raise ValueError("not a session id")
        path = flow.request.data.path.decode("utf-8", "surrogateescape")
        if request_hidden is not None:
            parts = path.partition("?")[0].split("/")
            path = "/".join("removed" if unquote(part) in request_hidden else part for part in parts)
        if request_note:
            size = len(request_body)
            request_headers = scrub.replaced(request_headers, size, request_note, plain_only=request_hidden is not None)
        if response_note:
            response_headers = scrub.replaced(response_headers, len(response_body), response_note)
        ours = (
            _usual("host", host),
            _usual("port", port),
            _usual("method", flow.request.data.method),
            _usual("scheme", scheme.encode()),
            _usual("authority", b""),
            _pair("path", scrub.target(path).encode("utf-8", "surrogateescape")),
        )
        request = _message(flow.request.data, request_headers, request_body, *ours)
        response = NOTHING
        if flow.response is not None:
            theirs = _usual("status_code", flow.response.data.status_code), _pair("reason", flow.response.data.reason)
            response = _message(flow.response.data, response_headers, response_body, *theirs)
        record = self._encode(flow, metadata, request, response)
        with self._lock:
            try:
                try:
                    found = self._session(session_id).write(record)
                except Vanished:  # somebody removed it: begin a new one
                    self._sessions.pop(session_id).close()
                    found = self._session(session_id).write(record)
            except OSError as error:
                if failed := self._sessions.pop(session_id, None):
                    failed.close()
                self.healthy = False
                raise LedgerUnavailable(f"can't write the session's recording: {error.strerror}") from error
            self.healthy = True
            return found

    def size(self, session_id: str) -> int:
        """Bytes that are recorded of a session; 0 where that can't be told, which `append` will say."""
        with self._lock, contextlib.suppress(OSError):
            return self._session(session_id).size
        return 0

    def _encode(self, flow: http.HTTPFlow, metadata: Mapping[str, Any], request: bytes, response: bytes) -> bytes:
        """A flow as mitmproxy's FlowReader reads it: the dictionary of `Flow.get_state`."""
        return _box(
            [
                OURS,
                _pair("id", flow.id),
                _pair("error", flow.error.get_state()) if flow.error else _usual("error", None),
                _key("client_conn") + self._connection(flow.client_conn),
                _key("server_conn") + self._connection(flow.server_conn),
                _usual("is_replay", flow.is_replay),
                _usual("marked", flow.marked),
                _key("metadata") + _metadata(metadata),
                _pair("comment", flow.comment),
                _pair("timestamp_created", flow.timestamp_created),
                _key("request") + request,
                _key("response") + response,
            ],
            b"}",
        )

    def _connection(self, conn: connection.Connection) -> bytes:
        """A connection, encoded once for all its flows, without certificates: they say nothing and cost kilobytes."""
        stamp = (conn.id, conn.sni, conn.alpn, conn.peername, conn.timestamp_tls_setup, conn.timestamp_end, conn.error)
        if (found := self._connections.get(stamp)) is None:
            if len(self._connections) >= SEEN:
                self._connections.clear()
            state = conn.get_state() | {"certificate_list": []}
            if "mitmcert" in state:
                state["mitmcert"] = None
            found = self._connections[stamp] = tnetstring.dumps(state)
        return found

    def _session(self, session_id: str) -> "_Session":
        if found := self._sessions.get(session_id):
            self._sessions.move_to_end(session_id)
            return found
        while len(self._sessions) >= OPEN_FILES:
            idle, closed = self._sessions.popitem(last=False)
            if len(self._ends) >= SEEN:
                self._ends.clear()
            self._ends[idle] = closed.number, closed.file.size, closed.count
            closed.close()
        found = self._sessions[session_id] = _Session(self.directory, session_id, self._ends.pop(session_id, None))
        return found

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._sessions:
                self._sessions.popitem()[1].close()


class _Session:
    """The file that one session's flows go to. One process at a time writes a file: others begin the next one."""

    def __init__(self, directory: Path, session_id: str, end: "_End | None") -> None:
        """Open the newest file. `end`: where we ourselves left it; else it is read through. Raises OSError."""
        self.id, self.end = session_id, end
        self.folder = directory / session_id
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        files = [path for path in self.folder.glob("*.mitm") if FILE.fullmatch(path.name)]
        numbers = [int(path.stem) for path in files]
        self.size = sum(path.stat().st_size for path in files)
        self._open(max(numbers, default=1))

    def _open(self, number: int) -> None:
        while True:
            self.number, self.looked = number, time.monotonic()
            path = self.folder / f"{number:04}.mitm"
            self.file = AppendFile(path)
            try:
                if self.file.hold():
                    end = self.file.size
                    if self.end and self.end[:2] == (number, end):
                        self.count = self.end[2]
                    else:
                        self.count, end = scan(path)
                    if end != self.file.size:
                        self.file.trim(end)  # what stood behind a tear could not be read any more
                    if end < LARGEST_FILE:
                        return
            except BaseException:
                self.file.close()
                raise
            self.file.close()
            number += 1

    def write(self, record: bytes) -> str:
        """Append one flow; returns its place. Raises OSError."""
        if (now := time.monotonic()) - self.looked > LOOK:
            self.file.check()
            self.looked = now
        if self.file.size >= LARGEST_FILE:
            self.file.close()
            self._open(self.number + 1)
        self.file.write(record, durable=False)
        self.size += len(record)
        self.count += 1
        return f"{self.id}/{self.number:04}.mitm#{self.count - 1}"

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def scan(path: Path) -> tuple[int, int]:
    """How many whole flows a file has, and where the last of them ends. Records are `<length>:<data>}`."""
    count = end = 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        while True:
            file.seek(end)
            match = LENGTH.match(file.read(16))
            if not match:
                return count, end
            after = end + match.end() + int(match[1]) + 1
            if after > size:
                return count, end
            file.seek(after - 1)
            if file.read(1) != b"}":
                return count, end
            count, end = count + 1, after


# What follows writes tnetstrings as mitmproxy.io.tnetstring does, many times faster: that builds them back to front.
def _bytes(value: bytes) -> bytes:
    return b"%d:%b," % (len(value), value)


def _text(value: str) -> bytes:
    return b"%d:%b;" % (len(data := value.encode("utf-8", "backslashreplace")), data)


def _bool(value: bool) -> bytes:
    return b"4:true!" if value else b"5:false!"


def _int(value: int) -> bytes:
    return b"%d:%d#" % (len(str(value)), value)


def _number(value: float) -> bytes:
    return b"%d:%b^" % (len(data := repr(value).encode()), data)


def _list(values: Iterable[Any]) -> bytes:
    return _box([_encode(value) for value in values], b"]")


def _dict(values: Mapping[str, Any]) -> bytes:
    return _box([_key(name) + _encode(value) for name, value in values.items()], b"}")


KINDS: dict[type, Callable[[Any], bytes]] = {
    bytes: _bytes,
    str: _text,
    bool: _bool,
    int: _int,
    float: _number,
    type(None): lambda _: NOTHING,
    tuple: _list,
    list: _list,
    dict: _dict,
}


def _encode(value: Any) -> bytes:
    kind = KINDS.get(type(value))
    return kind(value) if kind else tnetstring.dumps(value)


def _box(parts: list[bytes], kind: bytes) -> bytes:
    data = b"".join(parts)
    return b"%d:%b%b" % (len(data), data, kind)


def _pair(name: str, value: Any) -> bytes:
    return _key(name) + _encode(value)


@functools.lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return _text(name)


_usual = functools.lru_cache(maxsize=1_024, typed=True)(_pair)  # for what has few values

# What is the same in every flow.
OURS = b"".join(
    [
        _pair("version", version.FLOW_FORMAT_VERSION),
        _pair("type", "http"),
        _pair("intercepted", False),
        _pair("websocket", None),
        _pair("backup", None),
    ]
)
NO_TRAILERS = _pair("trailers", None)


def _headers(headers: Headers) -> bytes:
    return _box([_header(*h) if len(h[1]) <= SHORT else _scrubbed(*h) for h in headers], b"]")


def _scrubbed(name: str, value: str) -> bytes:
    """One header as it may be kept."""
    value = scrub.header(name, value)
    return _box([_bytes(part.encode("utf-8", "surrogateescape")) for part in (name, value)], b"]")


_header = functools.lru_cache(maxsize=1_024)(_scrubbed)  # an agent's calls have most of their headers in common


def _metadata(metadata: Mapping[str, Any]) -> bytes:
    return _box(
        [
            _usual(name, value) if isinstance(value, str) and len(value) <= SHORT else _pair(str(name), plain(value))
            for name, value in metadata.items()
        ],
        b"}",
    )


def _message(data: http.MessageData, headers: Headers, body: bytes, *more: bytes) -> bytes:
    return _box(
        [
            _usual("http_version", data.http_version),
            _key("headers") + _headers(headers),
            _pair("content", scrub.body(body)),
            NO_TRAILERS,
            _pair("timestamp_start", data.timestamp_start),
            _pair("timestamp_end", data.timestamp_end),
            *more,
        ],
        b"}",
    )
