"""The event stream encoding: every message as botocore's own reader has it, whatever pieces it comes in, or refused."""

import itertools
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from addons.wire import Undecodable, frames
from addons.wire.frames import Message
from tests.wire.framing import DATE, encoded, pieces, sealed

# The vectors of botocore's tests/unit/test_eventstream.py (Apache-2.0), which AWS's other SDKs have, too.
ONE_HEADER = (
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
    "7b27666f6f273a27626172277d8d9c08b1"
)
ALL_TYPES = (
    "000000620000005203b5cb9c0130000131010132020201330300030134040000000401350500000000000000050136060005"
    "627974657301370700047574663801380800000000000000080139093031323334353637383961626364656663353671"
)
ERROR = (
    "0000005200000042bf23637e0d3a6d6573736167652d747970650700056572726f720b3a6572726f722d636f6465070004636f6465"
    "0e3a6572726f722d6d6573736167650700076d6573736167656b6cea3d"
)
EVERY_TYPE = {
    **{"0": True, "1": False, "2": 2, "3": 3, "4": 4, "5": 5, "6": b"bytes", "7": "utf8"},
    "8": datetime(1970, 1, 1, 0, 0, 0, 8_000, UTC),
    "9": UUID(bytes=b"0123456789abcdef"),
}
RIGHT = {
    "000000100000000005c248eb7d98c8ff": Message({}, b""),
    "000000170000000729860158046279746502ffc2f869dc": Message({"byte": -1}, b""),
    "0000001900000009710e923e0573686f727403ffffb27cb6cc": Message({"short": -1}, b""),
    "0000001d0000000d83e3f0e707696e746567657204ffffffff8b8e12eb": Message({"integer": -1}, b""),
    "0000001e0000000e5d4adb8d046c6f6e6705ffffffffffffffff4bc232da": Message({"long": -1}, b""),
    "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936": Message({}, b"{'foo':'bar'}"),
    ONE_HEADER: Message({"content-type": "application/json"}, b"{'foo':'bar'}"),
    ALL_TYPES: Message(EVERY_TYPE, b""),
    ERROR: Message({":message-type": "error", ":error-code": "code", ":error-message": "message"}, b""),
}
WRONG = {
    "length": "0100001d00000000fd528c5a7b27666f6f273a27626172277dc3653936",
    "headers' length": ONE_HEADER.replace("00000020", "ff000102", 1),
    "headers": ONE_HEADER.replace("2d74797065", "2b74797065", 1),
    "payload": "0000001d00000000fd528c5a7b27666f6f273a27626172278dc3653936",
    "header twice": "00000024000000144bb982d00474657374046173646604746573740461736466f3f47563",
    "headers too long": ONE_HEADER.replace("0000002007fd8396", "ff0001021583f5c2", 1),
    "payload too long": "0180002100000000dd3f33b1" + "30" * 40,
}


def read(*chunks: bytes) -> list[Message]:
    return list(frames.messages(chunks))


def refused(*chunks: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        read(*chunks)
    return caught.value.reason


@pytest.mark.parametrize(("data", "message"), RIGHT.items())
def test_vectors(data: str, message: Message) -> None:
    assert read(bytes.fromhex(data)) == [message]
    assert [type(v) for v in read(bytes.fromhex(data))[0].headers.values()] == [*map(type, message.headers.values())]


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_vectors_of_what_is_wrong(data: str) -> None:
    refused(bytes.fromhex(data))


STREAM = b"".join(map(bytes.fromhex, RIGHT))
names = st.text(min_size=1, max_size=20).filter(lambda text: len(text.encode()) < 256)
values = st.one_of(
    st.booleans(),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.binary(max_size=200),
    st.text(max_size=50),
    st.uuids(),
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(
        lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)
    ),
)
messages = st.builds(Message, st.dictionaries(names, values, max_size=5), st.binary(max_size=300))


@given(st.lists(messages, max_size=5), st.lists(st.integers(0, 2_000), max_size=12))
@settings(deadline=None)
def test_pieces_of_any_size(written: list[Message], cuts: list[int]) -> None:
    stream = b"".join(encoded(message.headers, message.payload) for message in written)
    ends = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    assert read(*(stream[a:b] for a, b in itertools.pairwise(ends))) == written


@given(st.lists(messages, min_size=1, max_size=3))
@settings(deadline=None)
def test_botocore_reads_the_same(written: list[Message]) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(encoded(message.headers, message.payload) for message in written))
    for ours, theirs in zip(written, buffer, strict=True):
        assert ours.payload == theirs.payload
        assert ours.headers.keys() == theirs.headers.keys()
        for name, value in ours.headers.items():
            if type(value) in (bool, int, str, bytes):
                assert theirs.headers[name] == value


def test_a_cut_at_any_byte() -> None:
    for size in range(1, len(STREAM)):
        assert read(STREAM[:size], STREAM[size:]) == [*RIGHT.values()]


def test_a_flipped_bit_anywhere_is_refused() -> None:
    whole = bytes.fromhex(ALL_TYPES)
    for at in range(len(whole) * 8):
        spoiled = bytearray(whole)
        spoiled[at // 8] ^= 1 << at % 8
        refused(bytes(spoiled))


def test_a_stream_that_ends_inside_a_message_is_refused_after_those_that_are_whole() -> None:
    ends = {0} | {sum(len(data) // 2 for data in list(RIGHT)[: n + 1]) for n in range(len(RIGHT))}
    for size in range(len(STREAM)):
        if size in ends:
            assert len(read(STREAM[:size])) < len(RIGHT)
        else:
            refused(STREAM[:size])
    found = frames.messages([STREAM[:-1]])
    assert [next(found) for _ in range(len(RIGHT) - 1)] == [*RIGHT.values()][:-1]
    with pytest.raises(Undecodable, match="breaks off"):
        next(found)


BLOCKS: dict[str, bytes] = {
    "a name without letters": b"\0\1",
    "a name longer than the rest": b"\x09a",
    "a name that is not UTF-8": b"\1\xff\0",
    "no type": b"\1a",
    "a type that there is not": b"\1a\x0a",
    "no value": b"\1a\5\0\0",
    "no length of a text": b"\1a\7\0",
    "a text longer than the rest": b"\1a\7\0\5abc",
    "a text that is not UTF-8": b"\1a\7\0\1\xff",
    "a text that is too long": b"\1a\7\x80\0" + b"x" * 0x8000,
    "a time before 1970": b"\1a\x08" + b"\xff" * 8,
    "a time after 9999": b"\1a\x08\x7f" + b"\xff" * 7,
    "a name twice": b"\1a\0\1a\1",
    "too many names": b"".join(b"\2" + bytes([65 + n // 20, 65 + n % 20]) + b"\0" for n in range(257)),
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_headers_that_can_be_read_two_ways_or_not_at_all(block: bytes) -> None:
    assert len(refused(sealed(block))) < 120


def test_what_is_too_large_is_refused_by_its_first_twelve_bytes() -> None:
    for total, headers in ((frames.MAX_PAYLOAD + 17, 0), (frames.MAX_HEADERS + 17, frames.MAX_HEADERS + 1), (15, 0)):
        prelude = total.to_bytes(4) + headers.to_bytes(4)
        reads: list[int] = []

        def chunks(prelude: bytes = prelude, reads: list[int] = reads) -> Any:
            yield prelude + frames.zlib.crc32(prelude).to_bytes(4)
            reads.append(1)

        with pytest.raises(Undecodable):
            next(frames.messages(chunks()))
        assert not reads


def test_a_long_stream_takes_the_memory_of_one_message() -> None:
    one = encoded({":message-type": "event"}, bytes(10_000))

    def chunks() -> Any:
        for _ in range(2_000):
            yield from pieces(one, 4_096)

    tracemalloc.start()
    try:
        assert sum(1 for _ in frames.messages(chunks())) == 2_000
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_time_is_linear_in_bytes_whatever_the_pieces(size: int) -> None:
    stream = encoded({"a": DATE}, bytes(1_000_000)) if size == 1 else encoded({}) * 65_536
    begun = time.process_time()
    read(*pieces(stream, size))
    assert time.process_time() - begun < 5
