"""The judge of the correctness pass: only what AWS itself would take from the real key is right."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from addons.wire import sigv4
from addons.wire.message import HttpRequest
from scripts.benchmarks import calls
from scripts.benchmarks.judge import REAL_KEY, REAL_SECRET, Wrong, lines, verify

AGENT = calls.Keys("AKIDAGENT", "agents-secret", "agents-token")


def agents(call: calls.Call) -> HttpRequest:
    """A request as the bench's agent sends it, as the gateway reads it."""
    head, _, body = calls.signed(call, AGENT)[0].partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    headers = tuple((name, value.strip()) for name, _, value in (text.partition(":") for text in rest))
    return HttpRequest(line.split()[0], call.host, line.split()[1], headers, body)


def resigned(call: calls.Call, key: str = REAL_KEY, secret: str = REAL_SECRET) -> tuple[bytes, bytes]:
    """The head and body that the gateway's signer would send."""
    request = agents(call)
    headers = sigv4.sign(
        request,
        access_key=key,
        secret_key=secret,
        token=None,
        service=call.service,
        region=calls.REGION,
        now=datetime.now(UTC),
    )
    head = f"{request.method} {request.target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
    return head.encode(), request.body or b""


@pytest.mark.parametrize("call", calls.CALLS, ids=lambda call: call.name)
def test_what_the_gateways_signer_makes_is_right(call: calls.Call) -> None:
    verify(*resigned(call))


def test_what_the_agent_signed_is_wrong_upstream() -> None:
    head, _, body = calls.signed(calls.GET_ITEM, AGENT)[0].partition(b"\r\n\r\n")
    with pytest.raises(Wrong, match="another key"):
        verify(head + b"\r\n\r\n", body)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda head, body: (head, body + b" "), "does not match"),
        (lambda head, body: (head.replace(b"GetItem", b"PutItem"), body), "does not match"),
        (
            lambda head, body: (head.replace(b"\r\n\r\n", b"\r\nx-amz-added: 1\r\n\r\n"), body),
            "not signed: x-amz-added",
        ),
        (lambda head, body: (head.replace(b"\r\n\r\n", b"\r\nx-amz-security-token: t\r\n\r\n"), body), "token"),
        (lambda head, body: (re.sub(rb"Signature=\w{8}", b"Signature=00000000", head), body), "does not match"),
        (lambda head, body: (head.replace(b"us-east-1/dynamodb", b"us-east-1/s3"), body), "scope"),
        (lambda head, body: (re.sub(rb"Authorization:.*\r\n", b"", head), body), "no Authorization"),
        (lambda head, body: (head.replace(b"\r\n\r\n", b"\r\nhost: other\r\n\r\n"), body), "twice"),
    ],
)
def test_every_tampering_is_found(change, fault) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Wrong, match=fault):
        verify(*change(*resigned(calls.GET_ITEM)))


def test_a_right_signature_by_another_secret_is_wrong() -> None:
    with pytest.raises(Wrong, match="does not match"):
        verify(*resigned(calls.GET_ITEM, secret="another"))


def test_only_lines_of_calls_are_counted_and_a_broken_line_is_no_line(tmp_path: Path) -> None:
    (tmp_path / "writer").mkdir()
    file = tmp_path / "writer" / "2026-01-01T00.jsonl"
    file.write_text('{"eventType":"AwsApiCall","eventID":"a"}\n{"eventType":"AwsServiceEvent","eventID":"b"}\n')
    assert lines(tmp_path) == ["a"]
    file.write_text('{"eventType":"AwsApiCall","ev')
    with pytest.raises(ValueError):
        lines(tmp_path)
