"""Event streams from AWS, read while they come: one event at a time, errors where AWS says so, or refused."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire import HttpResponse, Protocol, Undecodable
from addons.wire.answers import Answer, decode_answer, decode_stream
from addons.wire.outputevents import StreamError
from addons.wire.parsers import event_parser
from tests.wire.framing import encoded, event, pieces

CONVERSE = ("bedrock-runtime", "ConverseStream", "rest-json")
TAIL = ("logs", "StartLiveTail", "json")
START, STOP = event("messageStart", {"role": "assistant"}), event("messageStop", {"stopReason": "end_turn"})
FIRST = event("initial-response", {})
SESSION = event("sessionStart", {"requestId": "r", "sessionId": "s"})


def stream(call: tuple[str, str, str], *chunks: bytes, status: int = 200, **headers: str) -> Answer:
    service, operation, protocol = call
    head = HttpResponse(status, tuple((n.replace("_", "-"), v) for n, v in headers.items()), b"not looked at")
    return decode_stream(service, operation, protocol, head, iter(chunks))  # type: ignore[arg-type]


def found(call: tuple[str, str, str], *chunks: bytes) -> Iterator[dict[str, Any]]:
    output = stream(call, *chunks).output or {}
    return next(value for value in output.values() if isinstance(value, Iterator))


def exception(name: str, payload: bytes = b'{"message": "slow"}') -> bytes:
    return encoded(
        {":message-type": "exception", ":exception-type": name, ":content-type": "application/json"}, payload
    )


def test_events_come_one_by_one_with_what_stands_beside_them() -> None:
    seen: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number, data in enumerate((START, STOP[:9], STOP[9:])):
            seen.append(number)
            yield data

    call = ("bedrock-runtime", "InvokeModelWithResponseStream")
    head = HttpResponse(200, (("x-amzn-bedrock-content-type", "application/json"), ("x-amzn-requestid", "r")), b"")
    answer = decode_stream(*call, "rest-json", head, [])
    assert (answer.request_id, (answer.output or {})["contentType"]) == ("r", "application/json")
    output = decode_stream(*CONVERSE[:2], "rest-json", head, chunks()).output
    assert output
    assert not seen
    assert next(output["stream"]) == {"messageStart": {"role": "assistant"}}
    assert seen == [0]
    assert [*output["stream"]] == [{"messageStop": {"stopReason": "end_turn"}}]


def test_rpc_protocols_say_the_rest_in_their_first_message() -> None:
    assert [*found(TAIL, FIRST[:5], FIRST[5:] + SESSION)] == [{"sessionStart": {"requestId": "r", "sessionId": "s"}}]
    for wrong in (b"", SESSION, event("initial-response", b"[", **{":content-type": "application/json"})):
        with pytest.raises(Undecodable):
            stream(TAIL, wrong)


@pytest.mark.parametrize("first", [b"", FIRST])
def test_an_error_may_be_the_first_message(first: bytes) -> None:
    events = found(TAIL, first + exception("SessionTimeoutException"))
    with pytest.raises(StreamError) as caught:
        next(events)
    assert (caught.value.code, caught.value.message) == ("SessionTimeoutException", "slow")


def test_errors_modelled_and_not() -> None:
    payload = b'{"message": "m", "originalStatusCode": 424, "originalMessage": "o"}'
    cases = [
        (exception("modelStreamErrorException", payload), "modelStreamErrorException", "m"),
        (exception("brandNewException"), "brandNewException", ""),
        (encoded({":message-type": "error", ":error-code": "Internal", ":error-message": "no"}), "Internal", "no"),
    ]
    for data, code, message in cases:
        events = found(CONVERSE, START + data + STOP)
        assert next(events) == {"messageStart": {"role": "assistant"}}
        with pytest.raises(StreamError) as caught:
            next(events)
        assert (caught.value.code, caught.value.message, str(caught.value)) == (code, message, code)
        assert next(events, None) is None
    whole = decode_answer(*CONVERSE[:2], "rest-json", HttpResponse(200, (), START + cases[0][0]))
    assert whole.output == {"stream": [{"messageStart": {"role": "assistant"}}]}
    assert (whole.code, whole.members) == (
        "modelStreamErrorException",
        {"originalStatusCode": 424, "originalMessage": "o"},
    )


def test_events_of_another_time_are_left_out() -> None:
    assert len([*found(CONVERSE, START + event("brandNewEvent", {}) + STOP)]) == 2


@pytest.mark.parametrize(
    "data",
    [
        event("messageStart", b'{"role": "a", "role": "b"}', **{":content-type": "application/json"}),
        event("messageStart", b'{"role": ' + b"[" * 200_000, **{":content-type": "application/json"}),
        event("messageStart", b"no", **{":content-type": "application/json"}),
        event("messageStart", []),
        encoded({":message-type": "event"}, b"{}"),
        encoded({":event-type": "messageStart"}, b"{}"),
        encoded({":message-type": "news", ":event-type": "messageStart"}, b"{}"),
        encoded({":message-type": "exception", ":exception-type": b"x"}),
        START[:-1],
        START[:-1] + b"\0",
    ],
    ids=range(10),
)
def test_what_is_broken_is_refused_where_it_breaks(data: bytes) -> None:
    events = found(CONVERSE, STOP + data)
    assert next(events) == {"messageStop": {"stopReason": "end_turn"}}
    with pytest.raises(Undecodable):
        next(events)


@given(st.integers(0, len(START + STOP) - 1), st.integers(0, 7), st.integers(1, 64))
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_is_refused_whatever_the_pieces(at: int, bit: int, size: int) -> None:
    spoiled = bytearray(START + STOP)
    spoiled[at] ^= 1 << bit
    assert len([*found(CONVERSE, *pieces(START + STOP, size))]) == 2
    with pytest.raises(Undecodable):
        list(found(CONVERSE, *pieces(bytes(spoiled), size)))


@pytest.mark.parametrize(
    ("call", "status"), [(CONVERSE, 403), (("sts", "GetCallerIdentity", "query"), 200), (("no", "Such", "json"), 200)]
)
def test_what_is_no_event_stream(call: tuple[str, str, Protocol], status: int) -> None:
    with pytest.raises(Undecodable):
        stream(call, START, status=status)


def test_a_stream_without_end_takes_the_memory_of_one_event() -> None:
    records = encoded({":message-type": "event", ":event-type": "Records"}, bytes(50_000))
    head = HttpResponse(200, (), b"")
    list(found(CONVERSE, START))
    events = decode_stream("s3", "SelectObjectContent", "rest-xml", head, (records for _ in range(2_000))).output or {}
    tracemalloc.start()
    try:
        assert sum(len(one["Records"]["Payload"]) for one in events["Payload"]) == 100_000_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_kinesis_events_in_cbor_have_milliseconds_too() -> None:
    parser = event_parser("kinesis-cbor")
    assert parser._timestamp_parser(1767323045678).microsecond == 678_000
