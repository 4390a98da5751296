"""`sluicegate decode`: requests as people have them, in; what the gateway would understand, out."""

import base64
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cbor2
import pytest
import yaml
from click.testing import CliRunner
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from scripts.benchmarks.round_trip.captured import FOLDER
from scripts.cli import decode as command
from scripts.cli import one, written
from tests.wire.conftest import CACHE
from tests.wire.framing import event, signed

GET_ITEM = {
    "method": "POST",
    "url": "https://dynamodb.eu-west-1.amazonaws.com/",
    "headers": [["X-Amz-Target", "DynamoDB_20120810.GetItem"], ["Content-Type", "application/x-amz-json-1.0"]],
    "body": base64.b64encode(b'{"TableName": "orders", "Key": {"id": {"B": "AP8="}}}').decode(),
}
FORM = "Action=GetCallerIdentity&Version=2011-06-15"
RAW = (
    "POST / HTTP/1.1\r\nHost: sts.amazonaws.com\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    "Content-Length: 43\r\n\r\nAction=GetCallerIdentity&Version=2011-06-15\n"
)


def run(*arguments: str, given: bytes | str = b"", code: int = 0) -> str:
    """The command's standard output."""
    ran = CliRunner().invoke(
        one("decode", command.decode), [*arguments, "--cache", str(CACHE)], input=given, catch_exceptions=False
    )
    assert ran.exit_code == code, (ran.stdout, ran.stderr)
    return ran.stdout if code != 2 else ran.stderr


def lines(*requests: Any, **options: bool) -> list[dict[str, Any]]:
    """The results of --jsonl."""
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in requests)
    arguments = [f"--{name}" for name, wanted in options.items() if wanted]
    return [json.loads(line) for line in run("--jsonl", "-", *arguments, given=text).splitlines()]


def test_raw_http_as_yaml(tmp_path: Path) -> None:
    expected = {
        "service": "sts",
        "operation": "GetCallerIdentity",
        "region": "us-east-1",
        "partition": "aws",
        "protocol": "query",
        "params": {},
    }
    assert yaml.safe_load(run(given=RAW)) == expected
    (tmp_path / "request.http").write_text(RAW.replace("\r\n", "\n"))
    assert yaml.safe_load(run(str(tmp_path / "request.http"))) == expected
    chunked = RAW.replace("Content-Length: 43", "Transfer-Encoding: chunked")
    chunked = chunked.replace("Action", "2b\r\nAction").rstrip() + "\r\n0\r\n\r\n"
    assert yaml.safe_load(run(given=chunked)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "curl https://sts.amazonaws.com/ -d Action=GetCallerIdentity -d Version=2011-06-15",
        f"$ curl -sS -XPOST 'https://sts.amazonaws.com' \\\n  --data-raw '{FORM}' -o out",
        "curl -k --url=https://sts.amazonaws.com/ --aws-sigv4 aws:amz --data $'" + FORM.replace("&", "\\u0026") + "'",
        f"curl -G https://sts.amazonaws.com -H 'Host: sts.amazonaws.com' -d '{FORM}'",
    ],
)  # fmt: skip
def test_curl_lines(text: str) -> None:
    found = json.loads(run("--json", given=text))
    assert (found["service"], found["operation"], found["params"]) == ("sts", "GetCallerIdentity", {})


def test_a_curl_line_that_uploads_a_file(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"\x00\n")
    found = json.loads(
        run("--json", given=f"curl -T {tmp_path / 'body'} 'https://b-1.s3.us-east-2.amazonaws.com/a%20b'")
    )
    assert found["operation"] == "PutObject"
    assert found["params"] == {"Bucket": "b-1", "Key": "a b"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("curl -d x", "no URL"),
        ("curl https://sts.amazonaws.com --frobnicate", "--frobnicate"),
        ("curl 'https://sts.amazonaws.com", "not whole"),
        ("curl -d @/no/such/file https://sts.amazonaws.com", "can't be read"),
        ("curl -H 'Host: iam.amazonaws.com' https://sts.amazonaws.com", "iam.amazonaws.com"),
        ("curl http://127.0.0.1:5000/", "443"),
        ("", "empty"),
        ("nonsense", "first line"),
        ("GET / HTTP/1.1\n\n", "no host"),
        ("GET / HTTP/1.1\nHost\n\n", "no header"),
        (RAW.replace("43", "99"), "of its 99 bytes"),
        (RAW.replace("43", "9"), "more than its 9"),
        (RAW.replace("Content-Length: 43", "Transfer-Encoding: chunked"), "chunked"),
    ],
)
def test_what_is_no_request_says_where(text: str, says: str) -> None:
    assert says in run(given=text, code=2)


def test_a_refusal_has_reason_and_hint() -> None:
    found = yaml.safe_load(run(given=RAW.replace("Version=2011-06-15", "Version=2011-06-16"), code=1))
    assert "2011-06-16" in found["refused"]
    assert "upgrade botocore" in found["hint"]
    other = yaml.safe_load(run(given="GET / HTTP/1.1\nHost: example.com\n\n", code=1))
    assert "other_hosts" in other["hint"]
    opaque = yaml.safe_load(run(given="GET / HTTP/1.1\nHost: 1.dkr.ecr.us-east-1.amazonaws.com\n\n", code=1))
    assert "serves no API" in opaque["hint"]


def test_json_lines_are_as_specified() -> None:
    body = b'{"AttributeUpdates": {}, "TableName": "t", "Key": {}}'
    twin = {
        "id": "t",
        "method": "GET",
        "url": "https://rds.us-east-1.amazonaws.com/?Action=DescribeDBClusters&Version=2014-10-31",
        "headers": [],
        "body": "",
    }
    found = lines(GET_ITEM | {"id": 1}, twin, GET_ITEM | {"id": {"a": 1}, "headers": []}, "", "{", "[]", {"id": 5})
    assert found[0] == {
        "id": 1,
        "candidates": [{"service": "dynamodb", "operation": "GetItem"}],
        "service": "dynamodb",
        "operation": "GetItem",
        "region": "eu-west-1",
        "params": {"TableName": "orders", "Key": {"id": {"B": {"base64": "AP8="}}}},
    }
    assert {one["service"] for one in found[1]["candidates"]} == {"rds", "neptune", "docdb"}
    assert found[1]["candidates"][0] == {"service": found[1]["service"], "operation": found[1]["operation"]}
    assert list(found[2]) == ["id", "refused"]
    assert [one["id"] for one in found[2:]] == [{"a": 1}, None, None, 5]
    assert all("refused" in one for one in found[3:])
    assert body


def test_values_that_json_has_not() -> None:
    made = cbor2.dumps(
        {"Namespace": "n", "MetricData": [
            {"MetricName": "m", "Value": float("inf"), "Timestamp": cbor2.CBORTag(1, 1767323045.5)},
            {"MetricName": "m", "Value": float("nan")},
            {"MetricName": "m", "Value": float("-inf")},
        ]}
    )  # fmt: skip
    request = {
        "id": 1,
        "method": "POST",
        "url": "https://monitoring.us-east-1.amazonaws.com/service/GraniteServiceVersion20100801/operation/PutMetricData",
        "headers": [["smithy-protocol", "rpc-v2-cbor"], ["Content-Type", "application/cbor"]],
        "body": base64.b64encode(made).decode(),
    }
    data = lines(request)[0]["params"]["MetricData"]
    assert [one["Value"] for one in data] == ["Infinity", "NaN", "-Infinity"]
    assert data[0]["Timestamp"] == "2026-01-02T03:04:05.500000+00:00"


def test_the_captured_requests_are_all_read() -> None:
    source = FOLDER / "javascript.jsonl"
    found = [json.loads(line) for line in run("--jsonl", str(source)).splitlines()]
    assert len(found) == len(source.read_text().splitlines())
    assert [one for one in found if "refused" in one] == []
    assert all(one["id"] == f"{one['service']}:{one['operation']}" for one in found)


def test_lines_are_answered_as_they_come() -> None:
    """A pipe that stays open: an answer comes before the next line is written."""
    environ = os.environ | {"XDG_CACHE_HOME": str(CACHE), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts", "decode", "--jsonl", "-", "--cache", str(CACHE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=Path(__file__).parents[2],
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdin
        assert process.stdout
        for number in range(2):
            process.stdin.write(json.dumps(GET_ITEM | {"id": number}) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait() == 0
    finally:
        watchdog.cancel()
        process.kill()


def flow(url: str, **request: Any) -> Any:
    made = tflow.tflow(resp=True)
    made.request.url = url
    made.request.headers.clear()
    made.request.headers["host"] = made.request.host
    for name, value in request.pop("headers", {}).items():
        made.request.headers[name] = value
    for name, value in request.items():
        setattr(made.request, name, value)
    return made


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    flows = [
        flow("https://example.com/", method="GET", content=b""),
        tflow.ttcpflow(),
        flow(
            "https://dynamodb.eu-west-1.amazonaws.com/",
            method="POST",
            headers=dict(GET_ITEM["headers"]),
            content=base64.b64decode(str(GET_ITEM["body"])),
        ),
    ]
    flows[2].response.status_code, flows[2].response.content = 200, b'{"Item": {"id": {"B": "AP8="}}}'
    with (tmp_path / "flows.mitm").open("wb") as file:
        writer = FlowWriter(file)
        for one_flow in flows:
            writer.add(one_flow)
    return tmp_path / "flows.mitm"


def test_flows_of_a_dump(dump: Path) -> None:
    first, second = yaml.safe_load_all(run("--flow", str(dump), code=1))
    assert "refused" in first
    assert second["operation"] == "GetItem"
    assert yaml.safe_load(run("--flow", f"{dump}#2")) == second
    asked, answered = yaml.safe_load_all(run("--flow", f"{dump}#2", "--response"))
    assert asked == second
    assert answered == {"output": {"Item": {"id": {"B": {"base64": "AP8="}}}}}
    assert "2 HTTP flows" in run("--flow", f"{dump}#3", code=2)
    dump.write_bytes(b"7:nothing")
    assert "no dump" in run("--flow", str(dump), code=2)


def test_answers() -> None:
    item = {"service": "dynamodb", "operation": "GetItem", "headers": []}
    good = item | {"id": 1, "status": 200, "body": base64.b64encode(b'{"Item": {}}').decode()}
    bad = item | {"id": 2, "status": 400, "protocol": "json"}
    bad["body"] = base64.b64encode(b'{"__type": "x#ResourceNotFoundException", "message": "m"}').decode()
    found = lines(good, bad, item | {"id": 3, "status": 200, "body": "e30", "protocol": "json"}, response=True)
    assert found[0] == {"id": 1, "output": {"Item": {}}}
    assert found[1]["id"] == 2
    assert found[1]["error"]["code"] == "ResourceNotFoundException"
    assert found[1]["error"]["message"] == "m"
    assert list(found[2]) == ["id", "refused"]
    raw = 'HTTP/1.1 200 OK\nContent-Type: application/json\n\n{"FunctionName": "f"}'
    text = run("--response", "--operation", "lambda:GetFunctionConfiguration", given=raw)
    assert yaml.safe_load(text) == {"output": {"FunctionName": "f"}}
    assert "--operation" in run("--response", given=raw, code=2)


def test_what_the_sender_wrote_cannot_play_tricks_on_the_screen() -> None:
    body = json.dumps({"TableName": "\x1b[2J‮evil", "Key": {}}).encode()
    text = run("--jsonl", "-", given=json.dumps(GET_ITEM | {"body": base64.b64encode(body).decode()}))
    raw = b"POST / HTTP/1.1\nHost: dynamodb.us-east-1.amazonaws.com\nX-Amz-Target: DynamoDB_20120810.GetItem\n"
    shown = run(given=raw + b"Content-Type: application/x-amz-json-1.0\n\n" + body)
    for one_text in (text, shown):
        assert "evil" in one_text
        assert one_text.isascii()
        assert "\x1b" not in one_text


def test_secrets_are_hidden_where_that_is_asked_for() -> None:
    raw = (
        b"POST / HTTP/1.1\nHost: secretsmanager.us-east-1.amazonaws.com\nX-Amz-Target: secretsmanager.CreateSecret\n"
        b'Content-Type: application/x-amz-json-1.1\n\n{"Name": "n", "SecretString": "hunter2"}'
    )
    assert "hunter2" in run(given=raw)
    hidden = run("--hide", given=raw)
    assert "hunter2" not in hidden
    assert "Name: n" in hidden


def test_unknown_members_are_refused_or_named() -> None:
    request = GET_ITEM | {"id": 1, "body": base64.b64encode(b'{"TableName": "orders", "Key": {}, "Newer": 1}').decode()}
    given = json.dumps(request)
    for denied in ((), ("--unknown-members", "deny")):
        assert "Newer" in json.loads(run("--jsonl", "-", *denied, given=given))["refused"]
    found = json.loads(run("--jsonl", "-", "--unknown-members", "allow", given=given))
    assert (found["params"], found["unknown"]) == ({"TableName": "orders", "Key": {}}, ["GetItemInput.Newer"])
    assert "unknown" not in json.loads(run("--jsonl", "-", "--unknown-members", "allow", given=json.dumps(GET_ITEM)))
    raw = (
        b"POST / HTTP/1.1\nHost: dynamodb.us-east-1.amazonaws.com\nX-Amz-Target: DynamoDB_20120810.GetItem\n"
        b'Content-Type: application/x-amz-json-1.0\n\n{"TableName": "orders", "Key": {}, "Newer": 1}'
    )
    assert "Newer" in yaml.safe_load(run(given=raw, code=1))["refused"]
    assert yaml.safe_load(run("--unknown-members", "allow", given=raw))["unknown"] == ["GetItemInput.Newer"]
    assert "maybe" in run("--unknown-members", "maybe", code=2)


def test_wrong_usage_and_help(tmp_path: Path) -> None:
    assert "one of them" in run("a", "--flow", "b", code=2)
    assert "can't be read" in run(str(tmp_path / "none"), code=2)
    assert "can't be read" in run("--jsonl", str(tmp_path / "none"), code=2)
    shown = run("--help")
    for text in ("Examples", "--flow", "--jsonl", '"candidates"', "--response", "--unknown-members"):
        assert text in shown


def test_a_large_file_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The reader is asked for one line at a time."""
    taken: list[int] = []

    class Endless(io.BytesIO):
        def __iter__(self) -> Any:
            for number in range(500):
                taken.append(number)
                yield json.dumps(GET_ITEM | {"id": number}).encode()
                assert capsys.readouterr().out.count("\n") == 1

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Endless()})())
    command.decode(jsonl=Path("-"), cache=CACHE)
    assert len(taken) == 500


def test_urls_are_taken_as_they_are() -> None:
    assert written.at("https://a.b/x/../y%2F?q=1#f") == ("a.b", "/x/../y%2F?q=1")
    assert written.at("https://user:pw@a.b") == ("a.b", "/")
    assert written.at("a.b?x") == ("a.b", "/?x")


def polly(data: bytes) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": "https://polly.us-east-1.amazonaws.com/v1/synthesisStream",
        "headers": [
            ["Content-Type", "application/vnd.amazon.eventstream"],
            ["x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-EVENTS"],
            ["x-amzn-Engine", "generative"],
            ["x-amzn-OutputFormat", "mp3"],
            ["x-amzn-VoiceId", "Joanna"],
        ],
        "body": base64.b64encode(data).decode(),
    }


def test_the_events_of_a_request_are_shown() -> None:
    sent = signed(event("TextEvent", {"Text": "hello"}), event("CloseStreamEvent", {}))
    whole, head, cut = lines(polly(sent), polly(b""), polly(sent[:-1]))
    assert (whole["service"], whole["operation"]) == ("polly", "StartSpeechSynthesisStream")
    assert whole["params"] == head["params"] | {
        "ActionStream": [{"TextEvent": {"Text": "hello"}}, {"CloseStreamEvent": {}}]
    }
    assert "breaks off inside a message" in cut["refused"]


def test_hidden_events_keep_their_shape(tmp_path: Path) -> None:
    given = polly(signed(event("TextEvent", {"Text": "x" * 5_000})))
    head = "".join(f"{name}: {value}\r\n" for name, value in given["headers"])
    file = tmp_path / "request"
    line = "POST /v1/synthesisStream HTTP/1.1\r\nHost: polly.us-east-1.amazonaws.com\r\n"
    file.write_bytes(f"{line}{head}\r\n".encode() + base64.b64decode(given["body"]))
    found = json.loads(run(str(file), "--json", "--hide"))
    assert found["params"]["ActionStream"][0]["TextEvent"]["Text"].startswith("xxx")
    assert len(found["params"]["ActionStream"][0]["TextEvent"]["Text"]) < 2_100
