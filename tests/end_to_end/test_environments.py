"""The script of `sluicegate env`, read by a shell with the operator's own access in it: real programs behind the gate.

boto3, both AWS CLIs, the JavaScript SDK v3; rclone and s5cmd (Go SDK v1), the ECR credential helper (Go SDK v2), restic
(minio-go); curl and the JVM's own clients with presigned URLs. Each passes where it may and is told why where it may
not. `aws.py` checks that all that comes through was signed with the real key.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from addons.identity.local import LocalIssuer
from addons.identity.oidc import Verifier
from scripts.client.ports import free_port
from tests import tools
from tests.end_to_end import agents
from tests.end_to_end.agents import Agent
from tests.end_to_end.aws import Aws
from tests.end_to_end.conftest import ACCESS, COMMAND_LINES
from tests.harness import ACCOUNT, REAL_KEY, REAL_SECRET, ROLE, Gateway, gateway

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

POLICY = """\
version: 1
policies:
- name: agent
  statements:
  - {sid: who, effect: allow, actions: ["sts:GetCallerIdentity"], resources: ["*"]}
  - {sid: list, effect: allow, actions: ["s3:ListBucket", "s3:GetBucketLocation"], resources: ["arn:aws:s3:::reports"]}
  - {sid: objects, effect: allow, actions: ["s3:GetObject", "s3:PutObject", "s3:PutObjectAcl"],
     resources: ["arn:aws:s3:::reports/*"]}
  - {sid: locks, effect: allow, actions: ["s3:DeleteObject"], resources: ["arn:aws:s3:::reports/*/locks/*"]}
  - {sid: closed, effect: deny, actions: ["s3:*"], resources: ["arn:aws:s3:::reports/closed/*"]}
"""
WHY = "agent/closed"  # what each refusal names


@dataclass(frozen=True, slots=True)
class Shell:
    """A person's shell, which has all that could lead around the gateway, and reads the script."""

    home: Path
    script: Path

    def environ(self) -> dict[str, str]:
        nobody = f"http://127.0.0.1:{free_port()}"
        return os.environ | {
            "HOME": str(self.home),
            "AWS_ACCESS_KEY_ID": REAL_KEY,
            "AWS_SECRET_ACCESS_KEY": REAL_SECRET,
            "AWS_PROFILE": "admin",
            "AWS_ENDPOINT_URL": nobody,
            "AWS_REGION": "eu-west-1",
            "HTTPS_PROXY": nobody,
            "https_proxy": nobody,
            "ALL_PROXY": nobody,
            "NO_PROXY": "*",
            "no_proxy": ".amazonaws.com",
        }

    def line(self, *command: str) -> list[str]:
        return ["sh", "-c", '. "$1"; shift; exec "$@"', "sh", str(self.script), *command]

    def run(self, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*command), capture_output=True, text=True, check=False, timeout=100, cwd=self.home,
            env=self.environ() | extra, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def good(self, *command: str, **extra: str) -> str:
        """What a program that succeeds prints on standard output."""
        ran = self.run(*command, **extra)
        assert ran.returncode == 0, ran
        return ran.stdout


@pytest.fixture(scope="module")
def gate(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("gateway"), aws.url, POLICY, access_request=f"'{ACCESS}'") as made:
        yield made


@pytest.fixture(scope="module")
def shell(gate: Gateway, aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    home = tmp_path_factory.mktemp("home")
    (home / ".aws").mkdir()
    keys = f"aws_access_key_id={REAL_KEY}\naws_secret_access_key={REAL_SECRET}\n"
    (home / ".aws" / "credentials").write_text(f"[default]\n{keys}[admin]\n{keys}")
    aws.owner("s3").put_object(Bucket="reports", Key="closed/q4.txt", Body=b"not yet")
    place = home / "an agent's"
    return Shell(home, made(gate, place))


def made(gate: Gateway, place: Path, *options: str) -> Path:
    """What the command makes: it prints a line that reads the script, and nothing else."""
    ran = subprocess.run(
        [sys.executable, "-m", "scripts", "env", "--config", str(gate.config), "--out", str(place), *options],
        capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"AWS_REGION": "us-east-1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    echoed = subprocess.run(["sh", "-c", f"{ran.stdout}echo $AWS_ROLE_ARN"], capture_output=True, text=True, check=True)
    assert echoed.stdout.strip() == ROLE
    return place / "env.sh"


@pytest.fixture(autouse=True)
def no_real_key_is_found(shell: Shell, aws: Aws) -> Iterator[None]:
    """All that came upstream was signed rightly; what is left in the agent's home has no real key."""
    aws.asked.clear()
    yield
    assert [asked.refused for asked in aws.asked if asked.refused] == []
    for path in shell.home.rglob("*"):
        if path.is_file() and path.parent.name != ".aws":
            content = path.read_bytes()
            assert REAL_KEY.encode() not in content, path
            assert REAL_SECRET.encode() not in content, path


@pytest.fixture(
    params=[pytest.param(kind, marks=pytest.mark.long if kind in COMMAND_LINES else ()) for kind in agents.KINDS]
)
def agent(request: pytest.FixtureRequest, shell: Shell) -> Iterator[Agent]:
    argv, extra = agents.command(request.param)
    with agents.running(request.param, shell.line(*argv), shell.environ() | extra, shell.home) as found:
        yield found


def installed(program: str, package: str) -> str:
    """A program of a Debian package, as `scripts/ci-tools` installs it."""

    def find() -> str:
        if found := shutil.which(program):
            return found
        raise tools.Missing(f"no {program}: install {package}, on Debian by scripts/ci-tools")

    return tools.need(find)


def refused_lines(gate: Gateway, before: int) -> list[str]:
    return [line["eventName"] for line in gate.calls()[before:] if line.get("errorCode", "").startswith("AccessDenied")]


def test_an_sdk_or_a_cli_passes_and_is_refused(agent: Agent, gate: Gateway) -> None:
    before = len(gate.calls())
    key = f"{agent.kind}.txt"
    stored = agent.call("s3", "PutObject", Bucket="reports", Key=key, Body="from the agent")
    assert stored.ok, stored
    read = agent.call("s3", "GetObject", Bucket="reports", Key=key)
    assert read.value["Body"] == "from the agent"
    who = agent.call("sts", "GetCallerIdentity")
    assert who.value["Account"] == ACCOUNT
    refused = agent.call("s3", "GetObject", Bucket="reports", Key="closed/q4.txt")
    assert (refused.ok, refused.code) == (False, "AccessDenied"), refused
    assert WHY in refused.message
    assert ACCESS in refused.message
    assert refused_lines(gate, before) == ["GetObject"]
    (signed_in, *_) = [line for line in gate.calls()[before:] if line["eventName"] == "AssumeRoleWithWebIdentity"]
    assert signed_in["additionalEventData"]["sluicegate"]["outcome"] == "local"


RCLONE = {
    "RCLONE_CONFIG_GATE_TYPE": "s3",
    "RCLONE_CONFIG_GATE_PROVIDER": "AWS",
    "RCLONE_CONFIG_GATE_ENV_AUTH": "true",
    "RCLONE_CONFIG_GATE_REGION": "us-east-1",
    "RCLONE_S3_NO_CHECK_BUCKET": "true",
    "RCLONE_RETRIES": "1",
}


def test_rclone_copies_and_lists_and_is_told_why_not(shell: Shell, gate: Gateway, aws: Aws, tmp_path: Path) -> None:
    rclone = installed("rclone", "rclone")
    (tmp_path / "hello.txt").write_text("hello")
    shell.good(rclone, "copy", str(tmp_path), "gate:reports/rclone", **RCLONE)
    assert aws.owner("s3").get_object(Bucket="reports", Key="rclone/hello.txt")["Body"].read() == b"hello"
    assert shell.good(rclone, "lsf", "gate:reports/rclone", **RCLONE) == "hello.txt\n"
    assert shell.good(rclone, "cat", "gate:reports/rclone/hello.txt", **RCLONE) == "hello"
    before = len(gate.calls())
    refused = shell.run(rclone, "copy", str(tmp_path), "gate:reports/closed", **RCLONE)
    assert refused.returncode
    assert WHY in refused.stderr
    assert ACCESS in refused.stderr
    assert refused_lines(gate, before)[-1] == "PutObject"


def test_s5cmd_lists_copies_and_is_told_why_not(shell: Shell, aws: Aws, tmp_path: Path) -> None:
    s5cmd = str(tools.need(tools.s5cmd))
    assert "q3.txt" in shell.good(s5cmd, "ls", "s3://reports")
    (tmp_path / "hello.txt").write_text("hello")
    shell.good(s5cmd, "cp", str(tmp_path / "hello.txt"), "s3://reports/s5cmd/")
    assert aws.owner("s3").get_object(Bucket="reports", Key="s5cmd/hello.txt")["Body"].read() == b"hello"
    refused = shell.run(s5cmd, "cp", str(tmp_path / "hello.txt"), "s3://reports/closed/")
    assert refused.returncode
    assert WHY in refused.stderr


@pytest.mark.long
def test_programs_of_go_upload_in_parts(shell: Shell, aws: Aws, tmp_path: Path) -> None:
    file, content = tmp_path / "large", random.Random(0).randbytes(12 << 20)
    file.write_bytes(content)
    parts = {"RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M"}
    parts["RCLONE_S3_NO_HEAD"] = "true"  # moto names a version of the object, and then does not know it
    shell.good(installed("rclone", "rclone"), "copyto", str(file), "gate:reports/parts/rclone", **RCLONE, **parts)
    shell.good(str(tools.need(tools.s5cmd)), "cp", "--part-size", "5", str(file), "s3://reports/parts/s5cmd")
    for name in ("rclone", "s5cmd"):
        assert aws.owner("s3").get_object(Bucket="reports", Key=f"parts/{name}")["Body"].read() == content
    assert len([asked for asked in aws.asked if "partNumber=" in asked.name]) == 6


def test_the_go_sdk_v2_signs_in_and_is_told_why_not(shell: Shell, gate: Gateway) -> None:
    """Debian's one program with this SDK asks for nothing but a registry's password, which the gateway never gives."""
    helper, before = installed("docker-credential-ecr-login", "amazon-ecr-credential-helper"), len(gate.calls())
    script = f"echo https://{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com | {helper} get"
    assert shell.run("sh", "-c", script).returncode == 1
    said = (shell.home / ".ecr" / "log" / "ecr-login.log").read_text()
    assert "api error AccessDeniedException: sluicegate: ecr:GetAuthorizationToken is refused" in said
    names = [line["eventName"] for line in gate.calls()[before:]]
    assert names == ["AssumeRoleWithWebIdentity", "GetAuthorizationToken"]


def restic(shell: Shell, *words: str, at: str = "restic") -> list[str]:
    program = installed("restic", "restic")
    return [program, "--no-cache", "--repo", f"s3:s3.amazonaws.com/reports/{at}", *words]


@pytest.mark.long
def test_restic_backs_up_and_restores(shell: Shell, gate: Gateway, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    content = random.Random(0).randbytes(12 << 20)
    (tmp_path / "data" / "large").write_bytes(content)
    shell.good(*restic(shell, "init"), RESTIC_PASSWORD="x")
    shell.good(*restic(shell, "backup", str(tmp_path / "data")), RESTIC_PASSWORD="x")
    shell.good(*restic(shell, "restore", "latest", "--target", str(tmp_path / "back")), RESTIC_PASSWORD="x")
    (restored,) = (tmp_path / "back").rglob("large")
    assert restored.read_bytes() == content
    hosts = {line["tlsDetails"]["clientProvidedHostHeader"] for line in gate.calls() if "tlsDetails" in line}
    assert any("dualstack" in host for host in hosts), hosts


def test_restic_is_told_why_not(shell: Shell) -> None:
    """It tries a refused call again for a quarter of an hour, and says each time why it failed."""
    process = subprocess.Popen(
        shell.line(*restic(shell, "init", at="closed/restic")), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=shell.environ() | {"RESTIC_PASSWORD": "x"}, cwd=shell.home,
    )  # fmt: skip
    try:
        assert process.stdout
        said = until(process.stdout, "sluicegate")
        assert ACCESS in said
    finally:
        process.kill()
        process.wait()


def until(stream: IO[str], word: str) -> str:
    """The first line with a word."""
    said = []
    for line in stream:
        said.append(line)
        if word in line:
            return line
    raise AssertionError(said)


PRESIGN = """
import boto3, sys
from botocore.config import Config
client = boto3.client("s3", config=Config(signature_version="s3v4"))
for key in sys.argv[1:]:
    print(client.generate_presigned_url("get_object", Params={"Bucket": "reports", "Key": key}))
"""


@pytest.fixture(scope="module")
def urls(shell: Shell) -> Sequence[str]:
    """Presigned by an agent: of an object that it may read, and of one that it may not."""
    found = shell.good(sys.executable, "-c", PRESIGN, "q3.txt", "closed/q4.txt").split()
    assert all("X-Amz-Credential=ASIA" in url for url in found)
    return found


def test_curl_gets_a_presigned_url_and_is_told_why_not(shell: Shell, urls: Sequence[str]) -> None:
    curl = installed("curl", "curl")
    assert shell.good(curl, "-sS", urls[0]) == "revenue up"
    refused = shell.good(curl, "-sS", "-w", "%{http_code}", urls[1])
    assert WHY in refused
    assert refused.endswith("403")


@pytest.mark.long
def test_the_jvms_own_clients_get_a_presigned_url_and_are_told_why_not(shell: Shell, urls: Sequence[str]) -> None:
    """AWS's SDK for Java is in no package of Debian's, PyPI's or npm's; these are what it has below it by choice."""
    java, program = installed("java", "default-jdk-headless"), str(agents.PROGRAMS / "Get.java")
    assert shell.good(java, program, urls[0]).splitlines() == ["200 revenue up"] * 2
    refused = shell.good(java, program, urls[1])
    assert refused.count("403 ") == refused.count(WHY) == 2


def test_the_same_command_renews_the_token_in_the_same_session(gate: Gateway, tmp_path: Path) -> None:
    verifier = Verifier([LocalIssuer.open(gate.directory / "state").issuer()])
    token = tmp_path / "ada" / "token"

    def session() -> str | None:
        return verifier.verify(token.read_text(), now=time.time()).sid

    made(gate, token.parent, "--subject", "agent/ada", "--duration", "30m")
    first, sid = token.read_text(), session()
    made(gate, token.parent, "--subject", "agent/ada")
    assert token.read_text() != first
    assert session() == sid
    made(gate, token.parent, "--subject", "agent/eve")
    assert session() != sid  # the directory was another agent's
    token.write_text(first[:-4] + "AAAA")
    made(gate, token.parent, "--subject", "agent/ada")
    assert session() != sid  # nobody signed that


def test_a_token_of_ones_own_provider_stays_where_it_is(gate: Gateway, tmp_path: Path) -> None:
    token = tmp_path / "provider's token"
    script = made(gate, tmp_path / "out", "--token-file", str(token), "--proxy", "http://gate.internal:8080/")
    told = subprocess.run(
        ["sh", "-c", '. "$1"; echo "$AWS_WEB_IDENTITY_TOKEN_FILE $HTTPS_PROXY"', "sh", script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == f"{token} http://gate.internal:8080\n"
    assert not (tmp_path / "out" / "token").exists()


def test_what_can_not_be_done_is_said(gate: Gateway, tmp_path: Path) -> None:
    def refused(*options: str, config: Path = gate.config) -> str:
        command = [sys.executable, "-m", "scripts", "env", "--config", str(config), *options]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert ran.returncode in (1, 2)
        assert ran.stdout == ""
        assert "Traceback" not in ran.stderr
        return ran.stderr

    out = ("--out", str(tmp_path / "out"))
    assert "has no group 'nobody'" in refused(*out, "--group", "nobody")
    assert f"it has {ROLE}" in refused(*out, "--role", "arn:aws:iam::123456789012:role/admin")
    assert "http://HOST:PORT" in refused(*out, "--proxy", "http://ada:word@gate.internal:8080")
    assert "soon" in refused(*out, "--duration", "soon")
    (tmp_path / "shared").mkdir(mode=0o777)
    (tmp_path / "shared").chmod(0o777)
    assert "others can write to" in refused("--out", str(tmp_path / "shared"))
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("gateway.yaml", "policy.yaml"):
        shutil.copy(gate.directory / name, alone / name)
    config = alone / "gateway.yaml"
    assert "start it with `sluicegate up`" in refused(*out, config=config)
    text = config.read_text()
    config.write_text(text.replace("{local: true}", "{local: true, proxy_authorization: required}"))
    assert "wants `proxy_authorization`" in refused(*out, config=config)
    config.write_text(text.replace("{local: true}", "{issuers: [{issuer: 'https://i.example', audience: sluicegate}]}"))
    assert "give --token-file" in refused(*out, config=config)
