"""`mitmdump -s addons/gateway.py` and `mitmweb -s ...`: the same gate in stock programs, and closed once it is gone."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from botocore.exceptions import ClientError

from scripts.client.ports import free_port
from tests import agent, harness
from tests.harness import Gateway, Seen, Upstream

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery-staple"
PASSWORD = "web-password"


def answer(seen: Seen) -> tuple[int, dict[str, str], bytes]:
    found = {"Name": "db", "SecretString": SECRET} if "GetSecretValue" in seen.headers["x-amz-target"] else {}
    return 200, {"content-type": "application/x-amz-json-1.1"}, json.dumps(found).encode()


@pytest.fixture(scope="module")
def upstream(upstream: Upstream) -> Upstream:
    upstream.answer = answer
    return upstream


@pytest.fixture(scope="module", params=["mitmdump", "mitmweb"])
def scripted(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A stock program with a copy of the addons that tests may break."""
    directory = tmp_path_factory.mktemp(request.param)
    for package in ("addons", "policy", "certs"):
        shutil.copytree(ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__"))
    options = []
    if request.param == "mitmweb":
        options = ["--no-web-open-browser", "--web-port", str(free_port())]
        options += ["--set", f"web_password={PASSWORD}"]
    with harness.script(
        directory, upstream.url, program=request.param, addons=directory / "addons", options=options
    ) as made:
        if options:
            made.ready["web"] = f"http://127.0.0.1:{options[2]}/"
        yield made


def refused_wholly(scripted: Gateway, upstream: Upstream, keys: tuple[str, str, str], seconds: float) -> None:
    """Calls are refused, from some moment within `seconds` on, and from then on none reaches the upstream."""
    call = agent.Raw(scripted, keys).call
    deadline = time.monotonic() + seconds
    while (found := call("ListTables", b"{}")).status == 200:
        assert time.monotonic() < deadline, "the gate is still there"
        time.sleep(0.2)
    sent = len(upstream.seen)
    for target, body in (("ListTables", b"{}"), ("GetItem", b'{"TableName":"t","Key":{"k":{"S":"v"}}}')):
        found = call(target, body)
        assert found.status in (0, 403, 500, 502), found
    assert agent.Raw(scripted, None).call().status in (0, 403, 500, 502)
    assert len(upstream.seen) == sent


def test_it_allows_masks_and_denies(scripted: Gateway, upstream: Upstream) -> None:
    dynamodb, secrets = agent.client(scripted, "dynamodb"), agent.client(scripted, "secretsmanager")
    assert dynamodb.list_tables()["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert harness.REAL_KEY in upstream.seen[-1].headers["authorization"]
    masked = secrets.get_secret_value(SecretId="db")["SecretString"]
    assert masked.startswith("sluicegate-redacted:")
    sent = len(upstream.seen)
    with pytest.raises(ClientError, match=r"AccessDeniedException.*sluicegate.*dynamodb:CreateTable") as caught:
        dynamodb.create_table(
            TableName="t",
            AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert len(upstream.seen) == sent
    names = [line["eventName"] for line in scripted.calls() if line["eventSource"] != "sts.amazonaws.com"]
    assert names == ["ListTables", "GetSecretValue", "CreateTable"]
    files = [path for path in scripted.directory.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("scripted", ["mitmdump"], indirect=True)
def test_what_needs_a_person_is_refused_where_there_is_no_screen(scripted: Gateway, upstream: Upstream) -> None:
    sent = len(upstream.seen)
    with pytest.raises(ClientError, match="screen"):
        agent.client(scripted, "dynamodb").delete_table(TableName="t")
    assert len(upstream.seen) == sent


def broken_reload(scripted: Gateway) -> None:
    script = scripted.directory / "addons" / "gateway.py"
    script.write_text(script.read_text() + "\nthis is no Python\n")


def unloaded_by_the_web_api(scripted: Gateway) -> None:
    # Whoever has mitmweb's password: a cookie and a header that agree are all the proof against forgery that it wants.
    put = requests.put(
        scripted.ready["web"] + "options",
        json={"scripts": []},
        headers={"authorization": f"Bearer {PASSWORD}", "x-xsrftoken": "1" * 16},
        cookies={"_mitmproxy_xsrf": "1" * 16},
        timeout=10,
    )
    assert put.status_code == 200, put.text


@pytest.mark.parametrize(
    ("scripted", "vanish"),
    [("mitmdump", broken_reload), ("mitmweb", unloaded_by_the_web_api)],
    indirect=["scripted"],
)
def test_it_refuses_everything_once_the_gateway_is_gone(
    scripted: Gateway, upstream: Upstream, vanish: Callable[[Gateway], None]
) -> None:
    keys = agent.sign_in(scripted)
    assert agent.Raw(scripted, keys).call("ListTables", b"{}").status == 200  # it did work
    vanish(scripted)
    refused_wholly(scripted, upstream, keys, seconds=20)
