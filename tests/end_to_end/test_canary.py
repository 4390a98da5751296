"""No real key, no synthetic secret, no token and no masked value anywhere that a person or a program can look.

The needles are the very values of this run: they are searched for in every file that the gateway writes, in what its
web API serves to a signed-in operator, and, the real ones, in what the agent is told.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.end_to_end import agents
from tests.end_to_end.agents import Agent, Answer
from tests.end_to_end.aws import SECRET, Aws
from tests.harness import REAL_KEY, REAL_SECRET, Gateway

pytestmark = pytest.mark.timeout(300)
PARAMETER = b"an-agents-own-secret"
PAGES = ("", "flows", "flows/dump", "events", "options", "state", "commands", "sluicegate/tickets", "readyz")


class Operator:
    """The web API with the operator's own rights."""

    def __init__(self, gate: Gateway) -> None:
        self.url = gate.ready["web"]
        token = (gate.directory / "state" / "operator.token").read_text()
        self.headers = {"authorization": f"Bearer {token}"}

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request("GET", self.url + path, headers=self.headers, timeout=20)

    def everything(self) -> dict[str, bytes]:
        """Every page and, of each flow, every body in every view."""
        found = {page: self.get(page).data for page in PAGES}
        for flow in json.loads(found["flows"]):
            for message in ("request", "response"):
                for path in ("content.data", "content/AWS", "content/Raw", "content/Auto", "content/Hex%20Dump"):
                    page = f"flows/{flow['id']}/{message}/{path}"
                    found[page] = self.get(page).data
        return found


@pytest.fixture(scope="module")
def spoken(gate: Gateway, aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Agent, list[Answer]]]:
    """An agent that has made one call of each outcome, and its answers."""
    with agents.agent("boto3", gate, tmp_path_factory.mktemp("agent")) as made:
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("sts", "GetCallerIdentity", {}),
            ("secretsmanager", "GetSecretValue", {"SecretId": "db"}),
            ("s3", "GetObject", {"Bucket": "reports", "Key": "q3.txt"}),
            ("s3", "GetObject", {"Bucket": "reports", "Key": "missing"}),
            ("s3", "DeleteBucket", {"Bucket": "reports"}),
            ("secretsmanager", "PutSecretValue", {"SecretId": "db", "SecretString": PARAMETER.decode()}),
        ]
        answers = [made.call(service, operation, **params) for service, operation, params in calls]
        assert [answer.ok for answer in answers] == [True, True, True, False, False, False]
        yield made, answers


@pytest.fixture(scope="module")
def needles(spoken: tuple[Agent, list[Answer]], gate: Gateway) -> dict[str, bytes]:
    held = spoken[0].call("", "credentials").value
    token = gate.token_file().read_text().strip()
    return {
        "the real key": REAL_KEY.encode(),
        "the real secret": REAL_SECRET.encode(),
        "the synthetic secret": held["secret"].encode(),
        "the agent's OIDC token": token.rpartition(".")[2].encode(),
        "the masked value": SECRET.encode(),
        # These two are in what the agent sends, which a person may look at on the screen, but in no file.
        "the session token": held["token"].rpartition(".")[2].encode(),
        "a secret parameter": PARAMETER,
    }


def test_no_file_of_the_gateway_holds_a_secret(gate: Gateway, needles: dict[str, bytes]) -> None:
    given = {gate.token_file()}  # the operator's own, for the agent
    files = [path for path in gate.directory.rglob("*") if path.is_file() and path not in given]
    assert {"audit", "sessions", "state"} <= {path.relative_to(gate.directory).parts[0] for path in files}
    assert any(path.suffix == ".mitm" for path in files)
    found = [(what, path.name) for path in files for what, needle in needles.items() if needle in path.read_bytes()]
    assert found == []


def test_the_web_api_serves_no_secret(gate: Gateway, needles: dict[str, bytes]) -> None:
    pages = Operator(gate).everything()
    shown = b"".join(pages.values())
    assert b"GetSecretValue" in shown  # it does show the calls
    assert b"sluicegate-redacted" in shown
    wanted = [what for what in needles if what not in ("the session token", "a secret parameter")]
    found = [(what, page) for page, body in pages.items() for what in wanted if needles[what] in body]
    assert found == []
    assert not [page for page, body in pages.items() if page.endswith("/AWS") and PARAMETER in body]


def test_sign_ins_are_not_on_the_screen(gate: Gateway, needles: dict[str, bytes]) -> None:
    flows = json.loads(Operator(gate).get("flows").data)
    assert len(flows) >= 6
    names = [{name.lower() for name, _ in flow["request"]["headers"]} for flow in flows]
    assert all("authorization" in found for found in names)


def test_the_agent_is_told_no_real_key_and_no_masked_value(
    spoken: tuple[Agent, list[Answer]], needles: dict[str, bytes]
) -> None:
    agent, answers = spoken
    said = "".join(answer.text for answer in answers) + agent.printed()
    for what in ("the real key", "the real secret", "the masked value"):
        assert needles[what].decode() not in said, what


def test_the_web_api_is_closed_to_those_without_a_token(gate: Gateway, spoken: tuple[Agent, list[Answer]]) -> None:
    for page in set(PAGES) - {"", "readyz"}:
        answer = urllib3.request("GET", gate.ready["web"] + page, timeout=20, redirect=False)
        assert answer.status == 403, page
        assert b"GetSecretValue" not in answer.data


def test_stock_mitmdump_reads_the_saved_session(gate: Gateway, needles: dict[str, bytes], tmp_path: Path) -> None:
    (recording,) = (gate.directory / "sessions").rglob("*.mitm")
    mitmdump = Path(sys.executable).with_name("mitmdump")
    read = subprocess.run(
        [mitmdump, "--set", f"confdir={tmp_path}", "-nr", recording, "--set", "flow_detail=4"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert read.returncode == 0, read.stderr
    for shown in (b"https://sts.us-east-1.amazonaws.com/", b"secretsmanager.GetSecretValue", b"reports.s3", b"<< 403"):
        assert shown in read.stdout
    assert not [what for what, needle in needles.items() if needle in read.stdout]
