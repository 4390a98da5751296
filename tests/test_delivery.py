"""The answer that the agent gets in the place of the masked one: once, whole, and never another's."""

from collections.abc import Generator
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseEndOfMessage, ResponseHeaders
from mitmproxy.proxy.layers.http._http1 import Http1Server

from addons import delivery


class Connection:
    """What stands for mitmproxy's writer: it keeps what it is told to write."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.send = delivery._delivering(self._write)

    def _write(self, connection: Any, event: Any) -> Generator[Any, Any, None]:
        self.written.append(event)
        yield from ()

    def answer(self, response: http.Response, *, body: bool = True) -> None:
        events = [ResponseHeaders(1, response, False), ResponseData(1, response.raw_content or b"")]
        for event in [*events[: 1 + body], ResponseEndOfMessage(1)]:
            list(self.send(self, event))


def test_the_waiting_answer_is_written_once() -> None:
    connection, shown, whole = Connection(), http.Response.make(200, b"masked"), http.Response.make(200, b"synthetic")
    delivery.deliver(shown, whole)
    connection.answer(shown)
    connection.answer(shown)
    assert [each.data for each in connection.written if isinstance(each, ResponseData)] == [b"synthetic", b"masked"]
    heads = [each.response for each in connection.written if isinstance(each, ResponseHeaders)]
    assert heads == [whole, shown]
    assert heads[0].headers["content-length"] == "9"


def test_another_answer_on_the_same_connection_never_gets_its_body() -> None:
    connection, shown, other = Connection(), http.Response.make(200, b"masked"), http.Response.make(403, b"refused")
    delivery.deliver(shown, http.Response.make(200, b"synthetic"))
    connection.answer(shown, body=False)
    connection.answer(other)
    assert [each.data for each in connection.written if isinstance(each, ResponseData)] == [b"refused"]


def test_an_answer_that_was_replaced_is_never_delivered() -> None:
    connection, shown = Connection(), http.Response.make(200, b"masked")
    delivery.deliver(shown, http.Response.make(200, b"synthetic"))
    connection.answer(http.Response.make(503, b"withheld"))
    assert [each.data for each in connection.written if isinstance(each, ResponseData)] == [b"withheld"]


def test_installing_it_twice_changes_nothing() -> None:
    before = Http1Server.send
    try:
        delivery.install()
        once = Http1Server.send
        delivery.install()
        assert Http1Server.send is once
    finally:
        Http1Server.send = before  # type: ignore[method-assign]
