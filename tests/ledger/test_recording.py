"""Recorded sessions: stock mitmproxy reads them, tears cost one flow, and no canary is in any byte."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.io import FlowReader, tnetstring
from mitmproxy.test import tflow

from addons.ledger import recording, scrub
from addons.ledger.log import LedgerUnavailable
from addons.ledger.recording import SessionRecorder, scan

SESSION = "7f3c0a12-55aa"
HOST = "dynamodb.us-east-1.amazonaws.com"
REQUEST = (("Host", HOST), ("X-Amz-Target", "DynamoDB_20120810.GetItem"), ("User-Agent", "Boto3/1.44.5"))
RESPONSE = (("x-amzn-RequestId", "R"), ("Content-Type", "application/x-amz-json-1.0"))


def flow(**changes: Any) -> http.HTTPFlow:
    """A flow as it is after signing for an upstream elsewhere: everything in it is the gateway's view."""
    made = tflow.tflow(resp=True)
    made.request.host, made.request.port, made.request.scheme = "127.0.0.1", 5000, "http"
    made.request.path = changes.get("path", "/")
    made.request.headers["authorization"] = "AWS4-HMAC-SHA256 CANARY-signed"
    return made


def append(recorder: SessionRecorder, made: http.HTTPFlow, **changes: Any) -> str:
    values: dict[str, Any] = {
        "request_headers": REQUEST,
        "request_body": b'{"TableName":"t"}',
        "response_headers": RESPONSE,
        "response_body": b'{"Item":{}}',
        "scheme": "https",
        "host": HOST,
        "port": 443,
        "metadata": {"eventID": "e", "operation": "GetItem"},
    }
    session = changes.pop("session", SESSION)
    return recorder.append(session, made, **(values | changes))


def read(path: Path) -> list[Any]:
    with path.open("rb") as file:
        return list(FlowReader(file).stream())


def test_mitmproxys_own_reader_gives_back_the_clients_view(tmp_path: Path) -> None:
    recorder = SessionRecorder(tmp_path)
    made = flow()
    assert append(recorder, made) == f"{SESSION}/0001.mitm#0"
    assert append(recorder, flow()) == f"{SESSION}/0001.mitm#1"
    found = read(tmp_path / SESSION / "0001.mitm")
    assert len(found) == 2
    first = found[0]
    assert (first.request.scheme, first.request.host, first.request.port) == ("https", HOST, 443)
    assert first.request.pretty_url == f"https://{HOST}/"
    assert first.request.headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert (first.request.content, first.response.content) == (b'{"TableName":"t"}', b'{"Item":{}}')
    assert (first.id, first.response.status_code) == (made.id, made.response.status_code)  # type: ignore[union-attr]
    assert first.metadata == {"eventID": "e", "operation": "GetItem"}


def test_the_encoding_is_mitmproxys_own_but_for_what_is_left_out(tmp_path: Path) -> None:
    for made in (flow(), tflow.tflow(err=True), tflow.tflow()):
        recorder = SessionRecorder(tmp_path / made.id)
        append(recorder, made, request_headers=(), response_headers=())
        with (tmp_path / made.id / SESSION / "0001.mitm").open("rb") as file:
            state: Any = tnetstring.load(file)
        stock: Any = tnetstring.loads(tnetstring.dumps(made.get_state()))
        assert state.keys() == stock.keys()
        for part in ("request", "response", "client_conn", "server_conn"):
            assert (state[part] or {}).keys() == (stock[part] or {}).keys()
        for part in ("version", "type", "id", "error", "is_replay", "timestamp_created"):
            assert state[part] == stock[part]


@pytest.mark.timeout(60)
def test_stock_mitmdump_reads_a_recording(tmp_path: Path) -> None:
    mitmdump = shutil.which("mitmdump", path=str(Path(sys.executable).parent))
    if not mitmdump:
        pytest.skip("NOT TESTED: there is no mitmdump beside this Python")
    recorder = SessionRecorder(tmp_path)
    for number in range(3):
        append(recorder, flow(path=f"/?n={number}"))
    recorder.close()
    ran = subprocess.run(
        [mitmdump, "-nr", str(tmp_path / SESSION / "0001.mitm"), "--set", f"confdir={tmp_path}", "--flow-detail", "1"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert ran.stdout.count(f"https://{HOST}/?n=") == 3


CANARIES = (
    ("Authorization", "AWS4-HMAC-SHA256 Credential=CANARY"),
    ("authorization", "Bearer CANARY"),
    ("X-Amz-Security-Token", "CANARY"),
    ("Proxy-Authorization", "Basic CANARY"),
    ("Cookie", "a=CANARY"),
    ("Set-Cookie", "a=CANARY"),
    ("x-amz-server-side-encryption-customer-key", "CANARY"),
    ("x-amz-server-side-encryption-customer-key-MD5", "CANARY"),
    ("x-amz-copy-source-server-side-encryption-customer-key", "CANARY"),
    ("x-amz-s3session-token", "CANARY"),
    ("x-amz-mfa", "serial CANARY"),
    ("x-api-key", "CANARY"),
    ("x-amz-copy-source", "/b/k?X-Amz-Signature=CANARY"),
    ("Location", "https://b.s3.amazonaws.com/k?X-Amz-Credential=CANARY&X-Amz-Signature=CANARY"),
)


def test_no_secret_reaches_the_file(tmp_path: Path) -> None:
    recorder = SessionRecorder(tmp_path)
    names = ("X-Amz-Signature", "x-amz-security-token", "X-Amz-Credential", "Signature", "AWSAccessKeyId")
    query = "&".join(f"{name}=CANARY" for name in names)
    made = flow(path=f"/k?{query}&X%2DAmz%2DSignature=CANARY&versionId=kept")
    made.backup()
    made.metadata["token"] = "CANARY"
    body = b'{"url":"https://b.s3.amazonaws.com/k?X-Amz-Signature=CANARY&X-Amz-Security-Token=CANARY"}'
    append(recorder, made, request_headers=REQUEST + CANARIES, response_headers=RESPONSE + CANARIES, response_body=body)
    path = tmp_path / SESSION / "0001.mitm"
    data = path.read_bytes()
    assert b"CANARY" not in data
    assert b"versionId=kept" in data
    assert b"BEGIN CERTIFICATE" not in data
    assert len(read(path)) == 1


@given(
    before=st.binary(max_size=20),
    name=st.sampled_from(
        ["X-Amz-Signature", "x-amz-credential", "X-AMZ-SECURITY-TOKEN", "awsAccessKeyId", "X-Amz-Date"]
    ),
    mark=st.sampled_from([b"=", b"%3D", b"%3d", b":"]),
)
def test_a_body_is_searched_without_regard_to_case(before: bytes, name: str, mark: bytes) -> None:
    data = before + name.encode() + mark + b"CANARY&more"
    secret = name != "X-Amz-Date" and mark != b":"
    found = scrub.body(data)
    assert found == (before + name.encode() + mark + b"removed&more" if secret else data)


def test_hidden_parameters_are_in_no_part_of_the_request(tmp_path: Path) -> None:
    recorder = SessionRecorder(tmp_path)
    append(
        recorder,
        flow(path="/things/CANARY%21/state?secret=CANARY%21"),
        request_headers=(*REQUEST, ("x-some-member", "CANARY!"), ("Content-Length", "999")),
        request_body=b'{"SecretString": "HIDDEN_DUE_TO_SECURITY_REASONS"}',
        request_note="sensitive parameters are hidden",
        request_hidden=("CANARY!",),
    )
    path = tmp_path / SESSION / "0001.mitm"
    assert b"CANARY" not in path.read_bytes()
    (found,) = read(path)
    assert found.request.path == "/things/removed/state"
    assert found.request.headers["x-sluicegate-note"] == "sensitive parameters are hidden"
    assert found.request.headers["content-length"] == str(len(found.request.content))


def test_content_kept_as_a_hash_has_framing_that_fits(tmp_path: Path) -> None:
    recorder = SessionRecorder(tmp_path)
    headers = (("Content-Length", "1048576"), ("Content-Encoding", "gzip"), ("ETag", '"e"'))
    append(
        recorder,
        flow(),
        response_headers=headers,
        response_body=b"[1048576 bytes, sha256 00]",
        response_note="kept as hash",
    )
    (found,) = read(tmp_path / SESSION / "0001.mitm")
    assert found.response.headers["content-length"] == "26"
    assert found.response.headers["etag"] == '"e"'
    assert found.response.text == "[1048576 bytes, sha256 00]"


@pytest.mark.parametrize("session", ["", "..", "../x", "a/b", "7F3C", "a\n", "-a", "g", "/etc", "a" * 200])
def test_a_session_id_is_never_a_path(tmp_path: Path, session: str) -> None:
    with pytest.raises(ValueError):
        append(SessionRecorder(tmp_path), flow(), session=session)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 1))
def test_a_tear_costs_the_torn_flow_and_nothing_after_it(tmp_path_factory: Any, cut: float) -> None:
    directory = tmp_path_factory.mktemp("torn")
    recorder = SessionRecorder(directory)
    path = directory / SESSION / "0001.mitm"
    ends = []
    for _ in range(4):
        append(recorder, flow())
        ends.append(path.stat().st_size)
    recorder.close()
    size = int(ends[-1] * cut)
    with path.open("r+b") as file:
        file.truncate(size)
    whole = sum(end <= size for end in ends)
    assert scan(path) == (whole, ends[whole - 1] if whole else 0)
    again = SessionRecorder(directory)
    assert append(again, flow()) == f"{SESSION}/0001.mitm#{whole}"
    again.close()
    assert len(read(path)) == whole + 1


def test_two_gateways_never_write_into_one_file(tmp_path: Path) -> None:
    first, second = SessionRecorder(tmp_path), SessionRecorder(tmp_path)
    assert append(first, flow()) == f"{SESSION}/0001.mitm#0"
    assert append(second, flow()) == f"{SESSION}/0002.mitm#0"
    assert append(first, flow()) == f"{SESSION}/0001.mitm#1"


def test_a_large_file_is_followed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LARGEST_FILE", 1_000)
    recorder = SessionRecorder(tmp_path)
    assert [append(recorder, flow()) for _ in range(3)] == [f"{SESSION}/000{n}.mitm#0" for n in (1, 2, 3)]


def test_many_sessions_keep_few_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "OPEN_FILES", 3)
    recorder = SessionRecorder(tmp_path)
    for turn in range(2):
        for number in range(8):
            assert append(recorder, flow(), session=f"{number}") == f"{number}/0001.mitm#{turn}"
    assert len(recorder._sessions) == 3


def test_a_file_that_was_closed_for_another_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "OPEN_FILES", 1)
    recorder = SessionRecorder(tmp_path)
    places = [append(recorder, flow(), session=name) for name in ("a", "b")]
    monkeypatch.delattr(recording, "scan")
    places += [append(recorder, flow(), session=name) for name in ("a", "b", "a")]
    assert places == [f"{name}/0001.mitm#{n}" for name, n in (("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2))]


def test_a_file_that_somebody_changed_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "OPEN_FILES", 1)
    recorder = SessionRecorder(tmp_path)
    append(recorder, flow(), session="a")
    append(recorder, flow(), session="b")
    path = tmp_path / "a" / "0001.mitm"
    with path.open("ab") as file:
        file.write(b"999:torn")
    assert append(recorder, flow(), session="a") == "a/0001.mitm#1"
    assert len(read(path)) == 2


def test_a_removed_session_begins_anew_and_a_failing_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LOOK", 0)
    recorder = SessionRecorder(tmp_path / "sessions")
    append(recorder, flow())
    shutil.rmtree(tmp_path / "sessions")
    assert append(recorder, flow()) == f"{SESSION}/0001.mitm#0"
    shutil.rmtree(tmp_path / "sessions")
    (tmp_path / "sessions").write_text("in the way")
    with pytest.raises(LedgerUnavailable):
        append(recorder, flow())
    assert not recorder.healthy
    (tmp_path / "sessions").unlink()
    append(recorder, flow())
    assert recorder.healthy


def test_metadata_of_any_kind_is_made_plain(tmp_path: Path) -> None:
    recorder = SessionRecorder(tmp_path)
    append(recorder, flow(), metadata={"set": {1}, "object": object, "surrogate": "\ud800", "bytes": b"x"})
    (found,) = read(tmp_path / SESSION / "0001.mitm")
    assert found.metadata["set"] == [1]
