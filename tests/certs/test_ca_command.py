"""`sluicegate ca`: what a person does with the authority."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from addons import wire
from certs import authority
from certs.authority import Authority
from scripts.cli.ca import app
from tests.harness import prepare


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(prepare(tmp_path, "http://127.0.0.1:9"))


def test_before_the_first_start_there_is_nothing_to_show_and_it_says_so(file: str) -> None:
    for command in ("path", "show"):
        ran = CliRunner().invoke(app, [command, "--config", file])
        assert ran.exit_code == 1
        assert "start" in ran.stderr or "up" in ran.stderr


def test_path_and_show_tell_what_clients_trust(file: str, tmp_path: Path) -> None:
    made = Authority.open(tmp_path / "state" / "ca", wire.dns_suffixes())
    assert CliRunner().invoke(app, ["path", "--config", file]).stdout.strip() == str(made.root)
    shown = json.loads(CliRunner().invoke(app, ["show", "--json", "--config", file]).stdout)
    assert shown["sha256"] == authority.show(made.directory).sha256
    assert {"amazonaws.com", "amazonaws.com.cn", "api.aws", "amazonaws.eu"} <= set(shown["permitted"])
    text = CliRunner().invoke(app, ["show", "--config", file]).stdout
    assert "*.amazonaws.com\n" in text


@pytest.mark.parametrize(("options", "roots"), [([], 2), (["--forget-old"], 1)])
def test_renew_keeps_the_old_root_unless_told(file: str, tmp_path: Path, options: list[str], roots: int) -> None:
    made = Authority.open(tmp_path / "state" / "ca", wire.dns_suffixes())
    before = authority.show(made.directory).sha256
    ran = CliRunner().invoke(app, ["renew", *options, "--config", file])
    assert ran.exit_code == 0
    assert authority.show(made.directory).sha256 != before
    assert made.root.read_text().count("BEGIN CERTIFICATE") == roots
    assert "Restart the gateway" in ran.stdout
