"""The built-in issuer and the command that makes its tokens."""

import json
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from joserfc.jwk import ECKey, OKPKey

from addons.identity.local import LocalIssuer
from addons.identity.oidc import Claims, Verifier
from addons.identity.refusal import Refused
from scripts.cli import token as cli
from tests.identity.idp import NOW, token

CONFIG = """\
identity: {identity}
groups:
  developers: {{policies: [read-only.yaml], roles: ["arn:aws:iam::111122223333:role/agents"]}}
redaction: []
"""


def test_its_tokens_verify(tmp_path: Path) -> None:
    issuer = LocalIssuer.open(tmp_path)
    text = issuer.token("agent/ada", ["developers"], duration=60, session_id="run-1", now=NOW)
    found = Verifier([issuer.issuer()]).verify(text, now=NOW)
    assert (found.issuer, found.audience, found.subject) == (issuer.name, "sluicegate", "agent/ada")
    assert (found.groups, found.sid, found.issued, found.expires) == (("developers",), "run-1", NOW, NOW + 60)


def test_each_token_has_its_own_id(tmp_path: Path) -> None:
    issuer = LocalIssuer.open(tmp_path)
    verifier = Verifier([issuer.issuer()])
    assert len({verifier.verify(issuer.token("a", [], now=NOW), now=NOW).token_id for _ in range(20)}) == 20


def test_it_is_the_same_issuer_when_opened_again(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = {issuer.name for issuer in pool.map(lambda _: LocalIssuer.open(tmp_path / "state"), range(16))}
    assert len(names) == 1
    assert names.pop().startswith("https://local.sluicegate.invalid/")
    assert stat.S_IMODE((tmp_path / "state" / "issuer.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_another_machines_issuer_is_a_stranger(tmp_path: Path) -> None:
    mine, other = LocalIssuer.open(tmp_path / "a"), LocalIssuer.open(tmp_path / "b")
    verifier = Verifier([mine.issuer()])
    with pytest.raises(Refused, match="issuer"):
        verifier.verify(other.token("agent/ada", ["developers"], now=NOW), now=NOW)


def test_a_forged_token_is_refused(tmp_path: Path) -> None:
    issuer = LocalIssuer.open(tmp_path)
    claims = {"iss": issuer.name, "sub": "eve", "aud": "sluicegate", "iat": NOW, "exp": NOW + 60}
    forged = token(claims, header={"kid": issuer.key_id, "alg": "RS256"})
    with pytest.raises(Refused):
        Verifier([issuer.issuer()]).verify(forged, now=NOW)


def test_nothing_secret_is_shown_or_published(tmp_path: Path) -> None:
    issuer = LocalIssuer.open(tmp_path)
    private = json.loads((tmp_path / "issuer.json").read_text())["d"]
    assert private not in repr(issuer) + repr(issuer.issuer()) + json.dumps(dict(issuer.issuer().keys or {}))


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        "[]",
        json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=False)),
        json.dumps(OKPKey.generate_key("X25519").as_dict(private=True)),
        json.dumps(ECKey.generate_key("P-256").as_dict(private=True)),
    ],
    ids=["cut", "empty", "list", "public", "X25519", "P-256"],
)
def test_a_file_that_is_no_signing_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "issuer.json").write_text(content)
    (tmp_path / "issuer.json").chmod(0o600)
    with pytest.raises(ValueError, match="no Ed25519 key") as caught:
        LocalIssuer.open(tmp_path)
    private = json.loads(content).get("d") if content.startswith('{"') else None
    assert private is None or private not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    LocalIssuer.open(tmp_path)
    (tmp_path / "issuer.json").chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        LocalIssuer.open(tmp_path)


# ---- the command


class Done(NamedTuple):
    code: object
    out: str
    err: str


class Command:
    """`sluicegate token` in this process: importing everything anew costs a second each time."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory, self.capture = directory, capture

    def __call__(self, *groups: str, subject: str = "agent/ada", **settings: Any) -> Done:
        code: object = 0
        try:
            cli.token(self.directory / "gateway.yaml", subject=subject, group=list(groups), **settings)
        except SystemExit as end:
            code = end.code
        return Done(code, *self.capture.readouterr())


@pytest.fixture
def command(directory: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(directory, capsys)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "gateway.yaml").write_text(CONFIG.format(identity="{local: true}"))
    (tmp_path / "read-only.yaml").write_text("version: 1\npolicies: []\n")
    return tmp_path


def verified(directory: Path, text: str) -> Claims:
    return Verifier([LocalIssuer.open(directory / "state").issuer()]).verify(text.strip(), now=time.time())


def test_the_command_prints_a_token_that_the_gateway_takes(directory: Path) -> None:
    args = ["--subject", "agent/ada", "--group", "developers", "--group", "sre", "--duration", "2h"]
    done = subprocess.run(
        [sys.executable, "-m", "scripts", "token", "--config", str(directory / "gateway.yaml"), *args],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = verified(directory, done.stdout)
    assert (found.subject, found.groups) == ("agent/ada", ("developers", "sre"))
    assert found.expires - found.issued == 7200
    assert "no group sre" in done.stderr


def test_the_command_writes_a_private_file_in_one_step(directory: Path, command: Command) -> None:
    out = directory / "agent.token"
    out.write_text("old")
    out.chmod(0o644)
    done = command("developers", out=out)
    assert done == (0, "", "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert verified(directory, out.read_text()).expires - time.time() == pytest.approx(3600, abs=30)
    assert not [entry for entry in directory.iterdir() if entry.name.startswith(".agent")]


@pytest.mark.parametrize(
    ("changed", "group", "message"),
    [
        ({"subject": "a\nb"}, "developers", "sub"),
        ({"subject": ""}, "developers", "sub"),
        ({}, "", "groups"),
        ({"duration": "soon"}, "developers", "duration"),
        ({"out": Path("/nowhere/token")}, "developers", "can't be written"),
    ],
)
def test_the_command_says_what_is_wrong(command: Command, changed: dict[str, Any], group: str, message: str) -> None:
    assert command("developers").code == 0
    done = command(group, **changed)
    assert done.code == 2
    assert done.out == ""
    assert message in done.err


def test_the_command_says_that_the_built_in_issuer_is_off(directory: Path, command: Command) -> None:
    off = '{issuers: [{issuer: "https://idp.example.com"}]}'
    (directory / "gateway.yaml").write_text(CONFIG.format(identity=off))
    done = command("developers")
    assert done.code == 2
    assert "local: true" in done.err
    assert not (directory / "state").exists()
