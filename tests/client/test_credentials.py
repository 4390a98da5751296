"""`sluicegate credentials`: a person on a laptop and a container sign in, with a real provider and real AWS clients."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from addons.state import private_file
from tests import tools
from tests.client.provider import provider as running_provider
from tests.client.provider import sign_in
from tests.harness import ROLE, Gateway, Upstream, gateway

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
LIST = "import boto3, json; print(json.dumps(boto3.client('dynamodb').list_tables()['TableNames']))"
COMMAND = [sys.executable, "-m", "scripts", "credentials"]
PAGE = re.compile(r"or open (\S+)")


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with running_provider() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    made.answer = lambda seen: (200, {"content-type": "application/x-amz-json-1.0"}, b'{"TableNames":["orders"]}')
    yield made
    made.close()


@pytest.fixture(scope="module")
def gate(provider: str, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    identity = f"{{local: true, issuers: [{{issuer: '{provider}', audience: sluicegate}}]}}"
    with gateway(tmp_path_factory.mktemp("gateway"), upstream.url, identity=identity) as made:
        yield made


class Laptop:
    """A person's own machine: a home, a cache, a profile; no token file and no key."""

    def __init__(self, home: Path, gate: Gateway, *options: str) -> None:
        self.home, self.gate = home, gate
        self.options = ["--role", ROLE, *options]  # gateway and authority: as every SDK knows them, by the environment
        dropped = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "XDG_CACHE_HOME")
        kept = {name: value for name, value in gate.environment().items() if name not in dropped}
        profile = f"[profile agent]\ncredential_process = {' '.join([*COMMAND, 'process', *self.options])}\n"
        (home / "config").write_text(profile)
        self.environment = kept | {
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "AWS_CONFIG_FILE": str(home / "config"),
            "AWS_PROFILE": "agent",
        }

    def run(self, *command: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Run a program of the person's, with no terminal."""
        return subprocess.run(
            command,
            env=self.environment | settings.pop("env", {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            start_new_session=True,
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *args],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def login(self, issuer: str, *, refuse: bool = False) -> tuple[int, str]:
        """`credentials login`, with the person at a browser; exit code and what was said at the end."""
        process = self.start("login", "--issuer", issuer)
        assert process.stderr
        asked = process.stderr.readline() + process.stderr.readline()
        found = PAGE.search(asked)
        assert found, asked
        sign_in(found[1], refuse=refuse)
        out, err = process.communicate(timeout=30)
        return process.returncode, out + err

    def files(self) -> list[Path]:
        return [path for path in (self.home / ".cache").rglob("*") if path.is_file()]


@pytest.fixture
def laptop(tmp_path: Path, gate: Gateway, provider: str) -> Laptop:
    return Laptop(tmp_path, gate, "--issuer", provider)


def sign_ins(gate: Gateway) -> list[dict[str, Any]]:
    return [line for line in gate.lines() if line["eventName"] == "sign-in"]


def test_a_person_signs_in_once_and_boto3_calls(
    laptop: Laptop, gate: Gateway, provider: str, upstream: Upstream
) -> None:
    assert laptop.login(provider) == (0, f"Signed in at {provider}.\n")
    before = len(sign_ins(gate))
    for _ in range(2):
        ran = laptop.run(sys.executable, "-c", LIST)
        assert json.loads(ran.stdout or "0") == ["orders"], ran.stderr
    assert len(sign_ins(gate)) == before + 1  # the credentials are kept
    detail = sign_ins(gate)[-1]["additionalEventData"]["sluicegate"]["detail"]
    assert (detail["subject"], detail["groups"], detail["issuer"]) == ("agent/ada", ["developers"], provider)
    assert laptop.files()
    assert {path.stat().st_mode & 0o077 for path in laptop.files()} == {0}
    assert (laptop.home / ".cache" / "sluicegate").stat().st_mode & 0o077 == 0


@pytest.mark.long
def test_the_aws_cli_calls(laptop: Laptop, provider: str) -> None:
    aws = str(tools.need(tools.aws_cli_2))
    assert laptop.login(provider)[0] == 0
    ran = laptop.run(aws, "dynamodb", "list-tables", "--output", "json")
    assert json.loads(ran.stdout or "0") == {"TableNames": ["orders"]}, ran.stderr


def test_the_process_prints_what_sdks_read(laptop: Laptop, provider: str) -> None:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html"""
    assert laptop.login(provider)[0] == 0
    ran = laptop.run(*COMMAND, "process", *laptop.options)
    found = json.loads(ran.stdout)
    assert set(found) == {"Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert found["Version"] == 1
    left = datetime.fromisoformat(found["Expiration"]).timestamp() - time.time()
    assert 3000 < left <= 3600
    assert ran.stderr == ""


def test_who_has_no_terminal_is_told_what_to_run(laptop: Laptop, provider: str) -> None:
    ran = laptop.run(sys.executable, "-c", LIST)
    assert ran.returncode
    assert f"nobody is signed in: run `sluicegate credentials login --issuer {provider}" in ran.stderr


def test_a_refused_sign_in_ends_with_a_clear_error(laptop: Laptop, provider: str) -> None:
    code, said = laptop.login(provider, refuse=True)
    assert (code, "the sign-in was refused" in said) == (1, True)
    assert not list((laptop.home / ".cache" / "sluicegate").glob("login-*.json"))


def test_the_process_asks_on_the_terminal_though_an_sdk_hides_its_output(laptop: Laptop) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", LIST],
        env=laptop.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
    )
    asked = b""
    while b"or open" not in asked or not asked.endswith(b"\n"):
        asked += os.read(ours, 4096)
    found = PAGE.search(asked.decode())
    assert found
    sign_in(found[1])
    out, err = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert json.loads(out or "0") == ["orders"], err


@pytest.mark.long
def test_an_old_token_is_refreshed_without_the_person(laptop: Laptop, gate: Gateway, provider: str) -> None:
    assert laptop.login(provider)[0] == 0
    (file,) = (laptop.home / ".cache" / "sluicegate").glob("login-*.json")
    first = json.loads(file.read_text())
    expired = first["id_token"].split(".")[0] + ".eyJleHAiOjF9." + "AAAA"  # {"exp":1}
    private_file.replace(file, json.dumps(first | {"id_token": expired}).encode())
    ran = laptop.run(*COMMAND, "process", *laptop.options)
    assert json.loads(ran.stdout or "0"), ran.stderr
    second = json.loads(file.read_text())
    assert second["id_token"] not in (first["id_token"], expired)
    assert second["refresh_token"] != first["refresh_token"]  # it is good for once: the new one is kept
    # A refresh token that was taken back: the person is asked, and there is none.
    private_file.replace(file, json.dumps(second | {"id_token": expired, "refresh_token": "gone"}).encode())
    for kept in file.parent.glob("keys-*.json"):
        kept.unlink()
    ran = laptop.run(*COMMAND, "process", *laptop.options)
    assert (ran.returncode, "nobody is signed in" in ran.stderr) == (1, True)


@pytest.mark.long
def test_signing_out_leaves_nothing(laptop: Laptop, provider: str) -> None:
    assert laptop.login(provider)[0] == 0
    laptop.run(*COMMAND, "process", *laptop.options)
    assert laptop.run(*COMMAND, "logout").returncode == 0
    assert not [path for path in laptop.files() if path.suffix == ".json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--role", "arn:aws:iam::123456789012:role/other"], "AccessDenied"),
        (["--proxy", "http://127.0.0.1:1"], "can't be reached"),
        (["--proxy", "127.0.0.1:1"], "name the gateway"),
        (["--role", "admin"], "name the role"),
        (["--ca", "nowhere.pem"], "root certificate"),
        (["--ca", __file__], "certificate is not of the authority"),
        (["--token-file", "nowhere"], "can't be read"),
    ],
    ids=["another role", "no gateway", "no URL", "no ARN", "no file", "no certificate", "no token"],
)
def test_errors_say_what_is_wrong_and_hold_no_token(
    tmp_path: Path, gate: Gateway, change: list[str], said: str
) -> None:
    laptop = Laptop(tmp_path, gate, "--token-file", str(gate.token_file()))
    ran = laptop.run(*COMMAND, "process", *laptop.options, *change)
    assert ran.returncode in (1, 2)
    assert ran.stdout == ""
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert gate.token_file().read_text() not in ran.stderr


@contextlib.contextmanager
def endpoint(laptop: Laptop, *options: str) -> Iterator[dict[str, str]]:
    """`credentials serve`: the variables that it prints."""
    secret = str(laptop.home / "container.token")
    process = laptop.start(
        "serve", "--listen", "127.0.0.1:0", "--authorization-file", secret, *laptop.options, *options
    )
    assert process.stdout
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        assert all(line.startswith("export ") for line in lines), process.communicate(timeout=5)
        yield dict(line.removeprefix("export ").strip().split("=", 1) for line in lines)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture
def container(tmp_path: Path, gate: Gateway) -> Laptop:
    made = Laptop(tmp_path, gate, "--token-file", str(gate.token_file()))
    del made.environment["AWS_PROFILE"]
    made.environment["AWS_CONFIG_FILE"] = os.devnull
    return made


@pytest.mark.long
def test_boto3_in_a_container_gets_its_credentials_from_the_endpoint(container: Laptop) -> None:
    with endpoint(container) as given:
        ran = container.run(sys.executable, "-c", LIST, env=given)
        assert json.loads(ran.stdout or "0") == ["orders"], ran.stderr
        (container.home / "wrong").write_text("another word")
        wrong = {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(container.home / "wrong")}
        ran = container.run(sys.executable, "-c", LIST, env=given | wrong)
        assert ran.returncode
        assert "401" in ran.stderr


@pytest.mark.long
def test_the_aws_cli_in_a_container_does_too(container: Laptop) -> None:
    aws = str(tools.need(tools.aws_cli_2))
    with endpoint(container) as given:
        word = Path(given.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")).read_text()
        given["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = word  # older CLIs know this one only
        ran = container.run(aws, "dynamodb", "list-tables", "--output", "json", env=given)
        assert json.loads(ran.stdout or "0") == {"TableNames": ["orders"]}, ran.stderr


def ask(url: str, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as got:
            return got.status, json.loads(got.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_the_endpoint_answers_only_who_has_the_word_and_says_why_it_can_not(container: Laptop, gate: Gateway) -> None:
    with endpoint(container) as given:
        url, file = given["AWS_CONTAINER_CREDENTIALS_FULL_URI"], Path(given["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
        word = file.read_text()
        assert file.stat().st_mode & 0o077 == 0
        status, found = ask(url, Authorization=word)
        assert (status, set(found)) == (200, {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"})
        before = len(sign_ins(gate))
        assert ask(url, Authorization=word)[1] == found
        assert len(sign_ins(gate)) == before  # kept until they are nearly over
        for headers in ({}, {"Authorization": ""}, {"Authorization": word[:-1]}, {"Authorization": f"Bearer {word}"}):
            status, refused = ask(url, **headers)
            assert (status, refused["code"]) == (401, "Unauthorized")
        status, refused = ask(url, Authorization=word, Host="evil.example.com")
        assert (status, refused["code"]) == (403, "AccessDenied")
        with pytest.raises(json.JSONDecodeError):  # a page that says 404
            ask(url.replace("/credentials", "/other"), Authorization=word)
    with endpoint(container, "--role", "arn:aws:iam::123456789012:role/other") as given:
        status, refused = ask(given["AWS_CONTAINER_CREDENTIALS_FULL_URI"], Authorization=word)
        assert (status, refused["code"], "AccessDenied" in refused["message"]) == (503, "SignInFailed", True)


@pytest.mark.parametrize("word", ["", "short", "a space, and long enough"])
def test_the_endpoint_starts_with_no_word_that_can_be_guessed_or_not_be_sent(container: Laptop, word: str) -> None:
    """An empty file, as a full disk leaves one: everybody on the machine would have it, by sending nothing."""
    file = container.home / "word"
    file.touch(mode=0o600)
    file.write_text(word)
    arguments = ("serve", "--listen", "127.0.0.1:0", "--authorization-file", str(file), *container.options)
    process = container.start(*arguments)
    try:
        said, complaint = process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        said, complaint = process.communicate()
    assert (process.returncode, said) == (2, "")
    assert "16 characters" in complaint


def test_the_endpoint_is_for_this_machine_only(container: Laptop) -> None:
    ran = container.run(*COMMAND, "serve", "--listen", "0.0.0.0:0", *container.options)
    assert (ran.returncode, "loopback" in ran.stderr) == (2, True)
