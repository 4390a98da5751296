"""The README as a newcomer meets it: every command in it is run, here or by the test that is named here.

The commands come out of README.md as they stand. moto is AWS. What a reader fills in is filled in: `TICKET`, `FILE`,
the address of AWS (the key `upstream.endpoint`), and other ports than 8080 and 8081, which may be taken. What goes on
until it is stopped is started and stopped.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from addons import config
from addons.services import Rules
from scripts.client import sandbox
from scripts.client.ports import free_port
from tests import tools
from tests.harness import REAL_KEY, REAL_SECRET

if TYPE_CHECKING:
    from tests.end_to_end.aws import Aws

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"(?:<!-- (?P<file>[\w.]+) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```\n", re.DOTALL)
INLINE = re.compile(r"`((?:\./scripts/|\.venv/bin/|sluicegate |mitmdump |mitmweb )[^`]*)`")

OWN = "test_an_agent_on_ones_own_machine"
TEAM = "test_a_gateway_for_a_team"
SESSION = "test_recorded_sessions_are_read_and_served"
DEMO = "end_to_end/test_web_demo.py::test_every_call_of_the_demo_does_what_it_should"
FREEZE = "fail_closed/test_freeze.py::test_a_freeze_while_nothing_runs_counts_from_the_start_and_outlives_a_crash"
CONTAINER = "client/test_credentials.py::test_boto3_in_a_container_gets_its_credentials_from_the_endpoint"
COMMANDS = "fail_closed/test_freeze.py::test_the_commands_freeze_and_thaw_and_are_written_down_with_who_it_was"
REVOKE = "fail_closed/test_freeze.py::test_a_revoked_session_neither_calls_nor_signs_in"
KEYS = "fail_closed/test_key_rotation.py::test_a_rotation_ends_nothing_and_forgetting_ends_what_was_sealed_before"
PERSON = "client/test_credentials.py::test_a_person_signs_in_once_and_boto3_calls"
INTERACTIVE = "end_to_end/test_web_demo.py::test_a_person_presses_the_buttons_of_the_interactive_demo"
BENCH = "bench/test_proxy.py::test_a_short_run_verifies_a_real_gateway_and_prints_every_figure"
SCRIPTS = "end_to_end/test_scripts.py::test_it_allows_masks_and_denies"
RUN_BY = {  # a command of the README -> the test that runs it, in this file or in tests/
    "./scripts/demo": DEMO,
    "./scripts/demo --interactive": INTERACTIVE,
    "./scripts/test": "test_the_set_up_commands_are_there",
    "./scripts/test -k policy": "test_the_set_up_commands_are_there",
    "./scripts/test --all": "test_the_set_up_commands_are_there",
    "./scripts/bench proxy --quick": BENCH,
    "./scripts/bench wire --quick": "bench/test_wire.py::test_children_answer",
    "./scripts/bench identity --quick": "bench/test_identity.py::test_a_run_measures_all",
    "sluicegate decode --flow FILE": "wire/test_decode_command.py::test_flows_of_a_dump",
    "uv tool install .": OWN,
    "sluicegate run -- claude": OWN,
    "sluicegate approvals list": OWN,
    "sluicegate approvals approve TICKET": OWN,
    'sluicegate approvals deny TICKET --reason "not this table"': OWN,
    "sluicegate run -- python agent.py": OWN,
    "sluicegate run -- aws s3 ls": OWN,
    "sluicegate doctor": OWN,
    "sluicegate audit tail": OWN,
    "sluicegate audit search --denied --since 1h": OWN,
    "sluicegate check": TEAM,
    "sluicegate check --config gateway.yaml": TEAM,
    "sluicegate up --config gateway.yaml": TEAM,
    "sluicegate up": TEAM,
    "aws sts get-caller-identity": TEAM,
    'sluicegate freeze --subject agent/ada --reason "looks wrong"': COMMANDS,
    "sluicegate thaw --subject agent/ada": COMMANDS,
    "sluicegate freeze --all": FREEZE,
    "sluicegate session list": COMMANDS,
    'sluicegate session revoke SESSION --reason "the token leaked"': REVOKE,
    "sluicegate credentials login --issuer https://idp.example.com --client-id sluicegate": PERSON,
    "sluicegate credentials logout": "client/test_credentials.py::test_signing_out_leaves_nothing",
    "sluicegate keys rotate": KEYS,
    "sluicegate keys list": KEYS,
    "sluicegate ca show": TEAM,
    "sluicegate ca renew": TEAM,
    ".venv/bin/mitmdump -nr FILE": SESSION,
    ".venv/bin/mitmweb -nr FILE": SESSION,
    ".venv/bin/mitmweb -s addons/gateway.py --set sluicegate_config=gateway.yaml": SCRIPTS,
    ".venv/bin/mitmdump -s addons/gateway.py --set sluicegate_config=gateway.yaml": SCRIPTS,
}
BEGINNINGS = {
    "sluicegate credentials serve": CONTAINER,
    "sluicegate env --config": TEAM,
    ". ~/agent-ada": TEAM,
    ".venv/bin/mitmdump -S FILE": SESSION,
}

AGENT = """\
import boto3, json
from botocore.exceptions import ClientError
client = boto3.client("dynamodb")
print(json.dumps(client.list_tables()["TableNames"]), flush=True)
for table in ("scratch", "orders"):
    try:
        client.delete_table(TableName=table)
        print(json.dumps("deleted"), flush=True)
    except ClientError as error:
        print(json.dumps(str(error)), flush=True)
"""


def blocks(kind: str) -> list[re.Match[str]]:
    """The fenced blocks of one language."""
    return [found for found in FENCE.finditer(README) if found["kind"] == kind]


def commands() -> list[str]:
    """Every command: the lines of the `sh` blocks, and what stands as code in the text."""
    fenced = [line for block in blocks("sh") for line in block["text"].splitlines()]
    text = FENCE.sub("", README)
    return [*fenced, *(found[1].replace("\n", " ") for found in INLINE.finditer(text))]


def block_with(beginning: str) -> str:
    """The `sh` block that has a line with this beginning."""
    (found,) = [block["text"] for block in blocks("sh") if re.search(f"^{re.escape(beginning)}", block["text"], re.M)]
    return found


def command_with(beginning: str) -> str:
    """The one command with this beginning, as the README has it."""
    found = {command for command in commands() if command.startswith(beginning)}
    (only,) = found & {beginning} or found
    return only


def runner(command: str) -> str | None:
    """The test that runs a command."""
    return RUN_BY.get(command) or next((test for start, test in BEGINNINGS.items() if command.startswith(start)), None)


def test_every_command_is_run_by_a_test() -> None:
    found = commands()
    assert len(found) > 25
    assert [command for command in found if not runner(command)] == []
    assert RUN_BY.keys() - set(found) == set(), "no longer in the README"
    for test in {*RUN_BY.values(), *BEGINNINGS.values()}:
        file, _, name = test.rpartition("::")
        path = Path(__file__).parent / file if file else Path(__file__)
        assert re.search(rf"^(async )?def {name}\(", path.read_text(), re.M), test


def test_the_set_up_commands_are_there() -> None:
    """CI runs `./scripts/test --all` itself; that the others do what they should is shown by the tests named above."""
    for command in (command for command in commands() if command.startswith("./scripts/")):
        program = ROOT / command.split()[0]
        assert os.access(program, os.X_OK), command
        shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
        for word in command.split()[1:]:
            assert word in shown or program.name == "test", command  # pytest has options of its own
    assert "./scripts/test --all" in (ROOT / ".ci" / "run").read_text()


def test_links_to_files_lead_somewhere() -> None:
    for name in re.findall(r"`((?:addons|policy|certs|scripts|tests)/[\w./-]*)`", README):
        assert (ROOT / name).exists(), name


def write_files(directory: Path, endpoint: str, ports: tuple[int, int]) -> None:
    """Write the README's files, with AWS's address and the ports filled in."""
    for block in blocks("yaml"):
        text = block["text"].replace("# endpoint: http://127.0.0.1:5000", f"endpoint: {endpoint}")
        (directory / block["file"]).write_text(with_ports(text, ports))
    assert endpoint in (directory / "gateway.yaml").read_text()


def with_ports(text: str, ports: tuple[int, int]) -> str:
    """8080 and 8081, as ports that are free."""
    return text.replace("127.0.0.1:8080", f"127.0.0.1:{ports[0]}").replace("127.0.0.1:8081", f"127.0.0.1:{ports[1]}")


def test_the_configuration_and_the_policy_are_good_and_mean_what_the_text_says(tmp_path: Path) -> None:
    shown = {"gateway.yaml", "policy.yaml", "assume.yaml"}  # tests/identity/test_custody.py, and test_readme.py:
    shown |= {"issuers.yaml", "job.yaml", "pod.yaml", "chain.yaml"}
    assert {block["file"] for block in blocks("yaml")} == shown
    write_files(tmp_path, "http://127.0.0.1:5000", (8080, 8081))
    gateway = config.load(tmp_path / "gateway.yaml")
    rules = Rules.load(gateway)
    assert gateway.policies.keys() == {"read-only", "./policy.yaml"}
    names, statements = rules.policies.files[str(gateway.policies["./policy.yaml"])]
    assert names == ("developers",)
    assert [statement.effect for statement in statements] == ["allow", "deny", "approve"]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A person with an empty home, an AWS profile, and the installed command."""

    home: Path
    project: Path
    programs: Path
    environ: dict[str, str]

    def run(self, command: str, code: int | None = 0, **extra: str) -> str:
        """Type a command; what it says on both streams."""
        ran = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=200,
            cwd=self.project,
            env=self.environ | extra,
        )
        assert code is None or ran.returncode == code, (command, ran.returncode, ran.stdout)
        assert "Traceback" not in ran.stdout, ran.stdout
        return ran.stdout

    @contextlib.contextmanager
    def started(self, command: str, says: str, **extra: str) -> Iterator[subprocess.Popen[str]]:
        """Start what goes on, wait until it says something, and stop it at the end with Ctrl-C's signal."""
        log = self.home / f"{len(list(self.home.glob('*.log')))}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.project,
                env=self.environ | extra,
            )
        try:
            wait_for(lambda: process.poll() is not None or says in log.read_text())
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def waiting(newcomer: Newcomer) -> str:
    """The ticket that waits for a person, or ""."""
    found = re.search(r'"id": "(.+)"', newcomer.run("sluicegate approvals list --json", None))
    return found[1] if found else ""


def wait_for(come_true: Any, seconds: float = 120, log: Path | None = None) -> Any:
    """What `come_true` returns once it is true; where that takes too long, what the log says."""
    deadline = time.monotonic() + seconds
    while not (found := come_true()):
        assert time.monotonic() < deadline, log and log.read_text()
        time.sleep(0.1)
    return found


def program(path: Path, text: str) -> None:
    """An executable."""
    path.write_text(text)
    path.chmod(0o755)


def uv() -> str:
    """uv: on PATH, or the one that `./scripts/test` installed."""
    for found in (shutil.which("uv"), str(ROOT / ".venv-tools" / "bin" / "uv")):
        if found and tools.version(found):
            return found
    raise tools.Missing("no uv")


@pytest.fixture(scope="module")
def aws() -> Iterator["Aws"]:
    from tests.end_to_end.aws import Aws  # here: moto takes seconds to import

    made = Aws()
    made.furnish()
    made.table("scratch")
    yield made
    made.close()


def not_of_a_clone(directory: str, names: list[str]) -> set[str]:
    """What a checkout may hold beside its files: `addons/state` is one of those, `state` is not."""
    made = {"state", "audit", "sessions"} if Path(directory) == ROOT else set()
    return shutil.ignore_patterns(".*", "__pycache__", "node_modules")(directory, names) | made


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """A scratch home in which the README's own command installed sluicegate."""
    home = tmp_path_factory.mktemp("newcomer")
    programs, project = home / "bin", home / "project"
    for directory in (programs, project, home / ".aws"):
        directory.mkdir()
    profile = f"aws_access_key_id={REAL_KEY}\naws_secret_access_key={REAL_SECRET}\n"
    (home / ".aws" / "credentials").write_text(f"[default]\n{profile}[agents]\n{profile}")
    kept = {k: v for k, v in os.environ.items() if not re.match("AWS_|XDG_|SLUICEGATE_|PYTHON|VIRTUAL_ENV", k)}
    environ = kept | {
        "HOME": str(home),
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "AWS_REGION": "us-east-1",
        "COLUMNS": "200",
        "UV_TOOL_DIR": str(home / "tools"),
        "UV_TOOL_BIN_DIR": str(programs),
        "UV_PYTHON": sys.executable,
        "UV_SYSTEM_CERTS": "true",
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv"),
    }
    (programs / "uv").symlink_to(tools.need(uv))
    made = Newcomer(home, project, programs, environ)
    # From a copy, as from a clone: building must not write into the checkout.
    clone = home / "clone"
    shutil.copytree(ROOT, clone, ignore=not_of_a_clone)
    made.run(f"cd {clone} && {command_with('uv tool install')}")
    assert (programs / "sluicegate").exists()
    # Programs of the newcomer's own: an agent named claude, a Python with boto3, the AWS CLI.
    program(programs / "claude", f"#!{sys.executable}\n{AGENT}")
    program(programs / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (project / "agent.py").write_text("import boto3; print(boto3.client('sts').get_caller_identity()['Account'])\n")
    program(programs / "aws", f'#!/bin/sh\nexec {tools.need(tools.aws_cli_2)} "$@"\n')
    return made


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_agent_on_ones_own_machine(newcomer: Newcomer, aws: "Aws") -> None:
    # The first use makes the configuration; here AWS's address is given with it, and later by the file's name.
    made = newcomer.run(f"sluicegate run --endpoint {aws.url} -- true")
    (file,) = (newcomer.home / ".local" / "state" / "sluicegate").glob("*/gateway.yaml")
    assert f"made {file}" in made
    use = {"SLUICEGATE_CONFIG": str(file)}
    said = newcomer.home / "claude.out"
    agent = subprocess.Popen(
        ["bash", "-c", f"{command_with('sluicegate run -- claude')} >{said} 2>&1"],
        cwd=newcomer.project,
        env=newcomer.environ | use,
    )
    try:
        for command in ("sluicegate approvals approve", "sluicegate approvals deny"):
            # In another terminal, where nothing names the configuration.
            found = wait_for(lambda: waiting(newcomer), 60, said)
            assert found in newcomer.run(command_with("sluicegate approvals list"))
            newcomer.run(command_with(command).replace("TICKET", found))
        assert agent.wait(60) == 0
    finally:
        agent.kill()
    tables, scratch, orders = (json.loads(line) for line in said.read_text().splitlines() if line[0] in '["')
    assert "orders" in tables
    assert scratch == "deleted"
    assert "AccessDenied" in orders
    assert "not this table" in orders
    assert len(aws.named("DeleteTable")) == 1
    assert "123456789012" in newcomer.run(command_with("sluicegate run -- python"), **use)
    assert "reports" in newcomer.run(command_with("sluicegate run -- aws"), **use)
    walls = sandbox.find().kind != "none"
    assert "call" in newcomer.run(command_with("sluicegate doctor"), 0 if walls else 1, **use)
    assert "dynamodb:DeleteTable" in newcomer.run(command_with("sluicegate audit tail"))
    denied = newcomer.run(command_with("sluicegate audit search"))
    assert denied.count("dynamodb:DeleteTable") == 1
    assert "ListTables" not in denied


@pytest.fixture(scope="module")
def recorded(newcomer: Newcomer, aws: "Aws") -> Path:
    """The team's gateway, run as the README says, with one agent's session; the session's file."""
    ports = free_port(), free_port()
    write_files(newcomer.project, aws.url, ports)
    up = command_with("sluicegate up --config")
    assert "is good" in newcomer.run(command_with("sluicegate check --config"))
    assert "is good" in newcomer.run(command_with("sluicegate check"))
    with newcomer.started(up, "approve and watch at"):
        answer = newcomer.run(f"set -e\n{block_with('sluicegate env')}aws dynamodb list-tables")
        assert '"Account": "123456789012"' in answer
        assert "orders" in answer
    assert "amazonaws.com" in newcomer.run(command_with("sluicegate ca show"))
    assert "Restart the gateway" in newcomer.run(command_with("sluicegate ca renew"))
    (found,) = newcomer.project.glob("sessions/*/0001.mitm")
    return found


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_gateway_for_a_team(recorded: Path) -> None:
    assert recorded.stat().st_size > 0
    assert REAL_SECRET.encode() not in recorded.read_bytes()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_recorded_sessions_are_read_and_served(newcomer: Newcomer, recorded: Path) -> None:
    def filled(beginning: str) -> str:
        command = command_with(beginning).replace("FILE", str(recorded))
        return command.replace(".venv/bin/", f"{Path(sys.executable).parent}/")

    assert "dynamodb.us-east-1.amazonaws.com" in newcomer.run(filled(".venv/bin/mitmdump -nr"))
    port = free_port()
    show = f"{filled('.venv/bin/mitmweb -nr')} --no-web-open-browser --web-port {port}"
    with newcomer.started(show, "Web server listening at", PYTHONUNBUFFERED="1"):
        pass
    port = free_port()
    serve = filled(".venv/bin/mitmdump -S").replace("-p 8082", f"-p {port}")
    assert str(port) in serve
    with newcomer.started(serve, "proxy listening at", PYTHONUNBUFFERED="1"):
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        root = str(newcomer.home / ".mitmproxy" / "mitmproxy-ca-cert.pem")
        answer = newcomer.run(
            "aws dynamodb list-tables", HTTPS_PROXY=f"http://127.0.0.1:{port}", AWS_CA_BUNDLE=root, **keys
        )
        assert "orders" in answer
