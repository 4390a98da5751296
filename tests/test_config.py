"""gateway.yaml: strict, every problem at once, each with its line."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from addons import config
from policy.problems import Invalid, Problem

ROLE = "arn:aws:iam::111122223333:role/agents"
GOOD = f"""\
identity: {{local: true}}
groups:
  developers: {{policies: [./policy.yaml], roles: ["{ROLE}"]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text("version: 1\npolicies: []\n")
    return tmp_path


def problems(folder: Path, text: str) -> list[Problem]:
    (folder / "gateway.yaml").write_text(text)
    with pytest.raises(Invalid) as error:
        config.load(folder / "gateway.yaml")
    return error.value.problems


def test_a_small_file_gets_sane_defaults_and_absolute_paths(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(GOOD)
    found = config.load(folder / "gateway.yaml")
    assert found.config.listen == config.Address("127.0.0.1", 8080)
    assert found.config.web.listen == config.Address("127.0.0.1", 8081)
    assert found.config.other_hosts == "deny"
    assert found.config.wire.unknown_members == "deny"
    assert found.config.approvals.timeout == 900
    assert found.audit == folder / "audit"
    assert found.policies == {"./policy.yaml": folder / "policy.yaml"}
    assert found.redaction[0].name == "secrets.yaml"


def test_every_problem_is_reported_at_once_with_its_line(folder: Path) -> None:
    found = problems(
        folder,
        f"""\
identity: {{local: yes}}
listen: 8080
lisen: 127.0.0.1:8080
groups:
  developers: {{policies: [./policy.yaml], roles: ["{ROLE}"], roles: []}}
approvals: {{timeout: 15 minutes}}
upstream: {{endpoint: moto}}
""",
    )
    assert {problem.line for problem in found} == {1, 2, 3, 5, 6, 7}
    assert next(p for p in found if p.line == 3).hint == "did you mean listen?"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("./policy.yaml", "./absent.yaml"), "no policy './absent.yaml'"),
        (GOOD.replace("./policy.yaml", "no-such-pack"), "no policy 'no-such-pack'"),
        (GOOD.replace(ROLE, "agents"), "is no role ARN"),
        (GOOD + "redaction: [nothing-like-it]\n", "no redaction rules"),
        (GOOD + "upstream: {ca: absent.pem}\n", "no certificates can be read"),
        (GOOD + "upstream: {ca: policy.yaml}\n", "no certificates can be read"),
        (GOOD + 'other_hosts: {tunnel: ["*"]}\n', "is no host pattern"),
        (GOOD + 'upstream: {endpoint: "http://host/path"}\n', "has a path"),
        (GOOD + 'upstream: {proxy: "http://host/path"}\n', "has a path"),
        (GOOD + 'upstream: {proxy: "http://:password@host"}\n', "without user"),
        (GOOD + 'upstream: {endpoint: "http://host#part"}\n', "without user"),
        (GOOD + 'upstream: {endpoint: "http://host:70000"}\n', "Port out of range"),
        (GOOD + "identity: {local: false}\n", "stands twice"),
        (GOOD + "wire: {unknown_members: ignore}\n", "deny"),
        (GOOD.replace("local: true", "local: false"), "nobody could sign in"),
        (GOOD + "listen: localhost:8080\n", "is no address"),
        (GOOD.replace("local: true", "local: true, session: {duration: 5m}"), "from 20m to 12h"),
        (GOOD + 'web: {listen: "0.0.0.0:8081"}\n', "the screen has no TLS"),
        (GOOD + 'listen: "0.0.0.0:8080"\nother_hosts: {tunnel: all}\n', "is an open proxy"),
        ("", "the file is empty"),
    ],
)
def test_a_file_that_can_not_work_is_refused_with_the_reason(folder: Path, text: str, says: str) -> None:
    assert any(says in str(problem) for problem in problems(folder, text))


def test_a_missing_file_is_a_problem_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as error:
        config.load(tmp_path / "gateway.yaml")
    assert "No such file" in str(error.value)


def keys(schema: Any) -> Iterator[str]:
    """Every key below a schema."""
    if dataclasses.is_dataclass(schema) and not hasattr(schema, "parse"):
        for name, inner in get_type_hints(schema).items():
            yield name
            yield from keys(inner)
    for inner in get_args(schema):
        yield from keys(inner)


def test_the_readme_shows_every_key(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    block = readme.split("<!-- gateway.yaml -->\n```yaml\n")[1].split("```")[0]
    assert [key for key in keys(config.Config) if f"{key}:" not in block] == []
    (tmp_path / "policy.yaml").write_text("version: 1\npolicies: []\n")
    (tmp_path / "gateway.yaml").write_text(block)
    shown = config.load(tmp_path / "gateway.yaml").config
    assert shown.limits == config.Limits()
