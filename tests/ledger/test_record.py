"""The record step: one line whatever the end, written before the answer goes, and no secret in line or recording."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.flow import Error
from mitmproxy.io import FlowReader
from mitmproxy.test import tflow

from addons import record
from addons.call import Approval, Call, Refusal, attach
from addons.config import Limits
from addons.flows import refuse
from addons.identity.session import Session
from addons.ledger.log import LedgerUnavailable
from addons.ledger.recording import SessionRecorder
from addons.record import Record
from addons.wire import Decoded, HttpRequest
from policy.model import Decision, Item, ItemResult
from tests.ledger.conftest import ROLE, calls

HOST = "secretsmanager.us-east-1.amazonaws.com"
SECRET = "CANARY-secret-string"


class Setup:
    """A record step with a real ledger and recorder, and calls that came so far."""

    def __init__(self, directory: Path, ledger: Any) -> None:
        self.directory, self.ledger = directory, ledger
        gateway = SimpleNamespace(config=SimpleNamespace(limits=Limits()))
        rules = SimpleNamespace(redaction=SimpleNamespace(for_operation=lambda *_: ()), gateway=gateway)
        recorder = SessionRecorder(directory / "sessions")
        services: Any = SimpleNamespace(
            ledger=ledger, recorder=recorder, account_of=lambda session: "111122223333", rules=rules
        )
        self.record = Record(services)

    def call(
        self, operation: str = "PutSecretValue", params: dict[str, Any] | None = None, service: str = "secretsmanager"
    ) -> Any:
        params = {"SecretId": "db", "SecretString": SECRET} if params is None else params
        flow = tflow.tflow(resp=True)
        flow.request.path = "/"
        assert flow.response
        flow.response.headers["x-amzn-requestid"] = "AWS-1"
        flow.response.content = b'{"Name":"db"}'
        flow.server_conn.timestamp_tcp_setup = flow.server_conn.timestamp_tls_setup = 1.0
        headers = (
            ("Host", HOST),
            ("User-Agent", "Boto3/1"),
            ("amz-sdk-invocation-id", "inv"),
            ("amz-sdk-request", "attempt=2; max=5"),
            ("authorization", "CANARY"),
            ("x-amz-security-token", "CANARY"),
        )
        call = attach(flow, Call(source="10.0.0.9"))
        call.request = HttpRequest("POST", HOST, "/", headers, json.dumps(params, default=str).encode())
        call.session = Session("7f3c", "https://idp", "agent/ada", ("dev",), ROLE, "test", "jti", 0, 9_999_999_999)
        call.decoded = Decoded(
            ((service, operation),), service, operation, "us-east-1", "aws", params, "json", service, "us-east-1"
        )
        item = Item(f"{service}:{operation}", "arn:aws:secretsmanager:us-east-1:111122223333:secret:db", "exact")
        call.decision = Decision(
            "allow",
            (ItemResult(item, "allow", "dev/all"),),
            "dev/all",
            "because",
            "sha256:1",
            {"req:SecretString": SECRET},
        )
        call.intended = call.sent = True
        call.upstream_status = 200
        return flow, call

    def lines(self) -> list[dict[str, Any]]:
        return calls(self.directory)

    def only(self) -> dict[str, Any]:
        (found,) = self.lines()
        return found


@pytest.fixture
async def setup(tmp_path: Path, opened: Any) -> Setup:
    return Setup(tmp_path, await opened(tmp_path / "audit"))


async def test_an_answered_call(setup: Setup) -> None:
    flow, call = setup.call()
    await setup.record.response(flow)
    await setup.record.error(flow)
    found = setup.only()
    own = found["additionalEventData"]["sluicegate"]
    assert (found["eventID"], found["requestID"], "errorCode" in found) == (call.id, "AWS-1", False)
    assert (found["eventSource"], found["eventName"]) == ("secretsmanager.amazonaws.com", "PutSecretValue")
    assert (own["outcome"], own["sdkInvocation"], own["attempt"]) == ("answered", "inv", 2)
    assert own["flow"] == "7f3c/0001.mitm#0"


async def test_no_secret_is_written_down(setup: Setup) -> None:
    flow, _ = setup.call()
    await setup.record.response(flow)
    assert setup.only()["requestParameters"] == {"secretId": "db", "secretString": "HIDDEN_DUE_TO_SECURITY_REASONS"}
    for path in setup.directory.rglob("*"):
        assert not path.is_file() or b"CANARY" not in path.read_bytes(), path
    with (setup.directory / "sessions/7f3c/0001.mitm").open("rb") as file:
        (saved,) = FlowReader(file).stream()
    assert json.loads(saved.request.content)["SecretId"] == "db"  # type: ignore[attr-defined]


async def test_a_request_without_secrets_is_recorded_as_it_was(setup: Setup) -> None:
    flow, call = setup.call("GetSecretValue", {"SecretId": "db"})
    await setup.record.response(flow)
    with (setup.directory / "sessions/7f3c/0001.mitm").open("rb") as file:
        (saved,) = FlowReader(file).stream()
    assert saved.request.content == call.request.body  # type: ignore[attr-defined]
    assert "x-sluicegate-note" not in saved.request.headers  # type: ignore[attr-defined]


async def test_a_refused_call(setup: Setup) -> None:
    flow, call = setup.call()
    call.sent, call.upstream_status = False, None
    refuse(flow, call, Refusal("authorize", "AccessDenied", "no statement allows it"))
    await setup.record.response(flow)
    found = setup.only()
    own = found["additionalEventData"]["sluicegate"]
    assert (found["errorCode"], own["outcome"], own["refusedBy"]) == ("AccessDenied", "refused", "authorize")
    assert found["errorMessage"] == "sluicegate: no statement allows it"
    assert found["requestID"] == call.id


async def test_an_error_of_awss_own(setup: Setup) -> None:
    flow, call = setup.call()
    call.upstream_status = flow.response.status_code = 400
    flow.response.content = b'{"__type":"ResourceNotFoundException","message":"no db"}'
    await setup.record.response(flow)
    assert (setup.only()["errorCode"], setup.only()["errorMessage"]) == ("ResourceNotFoundException", "no db")


@pytest.mark.parametrize(
    ("connected", "ended", "code"), [(True, "unknown", None), (False, "failed", "ServiceUnavailable")]
)
async def test_a_call_without_answer(setup: Setup, connected: bool, ended: str, code: str | None) -> None:
    flow, call = setup.call()
    call.upstream_status, flow.response, flow.error = None, None, Error("Client disconnected.")
    flow.server_conn.timestamp_tcp_setup = 1.0 if connected else None
    await setup.record.error(flow)
    found = setup.only()
    assert (found["additionalEventData"]["sluicegate"]["outcome"], found.get("errorCode")) == (ended, code)


async def test_a_withheld_answer_is_still_a_call_that_happened(setup: Setup) -> None:
    flow, call = setup.call()
    refuse(flow, call, Refusal("redact", "AccessDenied", "can't be masked"))
    await setup.record.response(flow)
    own = setup.only()["additionalEventData"]["sluicegate"]
    assert (own["outcome"], own["refusedBy"], "errorCode" in setup.only()) == ("answered", "redact", False)


async def test_requests_that_nobody_could_read(setup: Setup) -> None:
    flow, call = setup.call()
    call.request = call.decoded = call.session = call.decision = None
    call.sent, call.upstream_status = False, None
    refuse(flow, call, Refusal("connect", "AccessDenied", "names differ"))
    await setup.record.response(flow)
    assert setup.only()["eventName"] == "Unknown"


async def test_a_sign_in_is_a_line_without_its_token(setup: Setup) -> None:
    flow, call = setup.call()
    call.private = call.answered = True
    call.sent, call.upstream_status, call.decoded, call.decision = False, None, None, None
    await setup.record.response(flow)
    found = setup.only()
    assert (found["eventSource"], found["eventName"]) == ("sts.amazonaws.com", "AssumeRoleWithWebIdentity")
    assert found["requestParameters"] == {"roleArn": ROLE, "roleSessionName": "test"}
    assert found["additionalEventData"]["sluicegate"]["outcome"] == "local"
    assert not (setup.directory / "sessions").exists()


async def test_a_held_call_names_who_decided(setup: Setup) -> None:
    flow, call = setup.call()
    call.approval = Approval("approved", "ada", 2.5)
    await setup.record.response(flow)
    approval = setup.only()["additionalEventData"]["sluicegate"]["approval"]
    assert approval == {"verdict": "approved", "by": "ada", "seconds": 2.5}


async def test_streamed_content_is_its_size_and_hash(setup: Setup) -> None:
    flow, call = setup.call("GetObject", {"Bucket": "b", "Key": "k"}, "s3")
    call.streams = True
    await setup.record.responseheaders(flow)
    assert flow.response.stream(b"abc") == b"abc"
    assert flow.response.stream(b"") == []
    flow.response.data.content = None
    await setup.record.response(flow)
    own = setup.only()["additionalEventData"]["sluicegate"]
    assert (own["bytesOut"], own["streamed"]) == (3, True)
    with (setup.directory / "sessions/7f3c/0001.mitm").open("rb") as file:
        (saved,) = FlowReader(file).stream()
    # FIPS 180-2's example: the SHA-256 of "abc".
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert saved.response.text == f"[3 bytes, sha256 {expected}]"  # type: ignore[attr-defined]


async def test_the_answer_is_withheld_when_its_line_can_not_be_written(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def gone(line: dict[str, Any], copy: Any = None) -> None:
        raise LedgerUnavailable("No space left on device")

    monkeypatch.setattr(setup.ledger, "outcome", gone)
    flow, _ = setup.call()
    await setup.record.response(flow)
    assert b"Name" not in (flow.response.content or b"")
    assert flow.response.status_code == 400
    assert "audit log can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("size", [3, 300 << 10])
async def test_a_recording_that_fails_in_any_way_does_not_cost_the_line(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    def broken(*_: Any, **__: Any) -> str:
        raise KeyError("CANARY")

    monkeypatch.setattr(setup.record.services.recorder, "append", broken)
    flow, _ = setup.call()
    flow.response.content = b"x" * size
    await setup.record.response(flow)
    assert setup.only()["additionalEventData"]["sluicegate"]["flow"] is None
    said = capsys.readouterr().err
    assert "can't be recorded: internal error (KeyError)" in said
    assert "CANARY" not in said


async def test_a_large_answer_is_recorded_whole_and_a_huge_one_as_its_size_and_hash(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "LARGEST", 400 << 10)
    for size in (300 << 10, 500 << 10):
        flow, _ = setup.call()
        flow.response.content = b"x" * size
        await setup.record.response(flow)
    with (setup.directory / "sessions/7f3c/0001.mitm").open("rb") as file:
        large, huge = FlowReader(file).stream()
    assert large.response.content == b"x" * (300 << 10)  # type: ignore[attr-defined]
    digest = hashlib.sha256(b"x" * (500 << 10)).hexdigest()
    assert huge.response.text == f"[{500 << 10} bytes, sha256 {digest}]"  # type: ignore[attr-defined]
    blocks = [line["additionalEventData"]["sluicegate"] for line in setup.lines()]
    assert [block["flow"] for block in blocks] == ["7f3c/0001.mitm#0", "7f3c/0001.mitm#1"]


async def test_a_recording_that_fails_does_not_cost_the_line(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    (setup.directory / "sessions").write_text("in the way")
    flow, _ = setup.call()
    await setup.record.response(flow)
    assert setup.only()["additionalEventData"]["sluicegate"]["flow"] is None
    assert "recording" in capsys.readouterr().err
