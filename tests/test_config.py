"""gateway.yaml: strict, every problem at once, each with its line."""

from pathlib import Path

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
    assert next(p for p in found if p.line == 3).hint == "did you mean 'listen'?"


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
        (GOOD + "identity: {local: false}\n", "stands twice"),
        (GOOD.replace("local: true", "local: false"), "nobody could sign in"),
        (GOOD + "listen: localhost:8080\n", "is no address"),
        (GOOD.replace("local: true", "local: true, session: {duration: 5m}"), "from 20m to 12h"),
        ("", "the file is empty"),
    ],
)
def test_a_file_that_can_not_work_is_refused_with_the_reason(folder: Path, text: str, says: str) -> None:
    assert any(says in str(problem) for problem in problems(folder, text))


def test_a_missing_file_is_a_problem_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as error:
        config.load(tmp_path / "gateway.yaml")
    assert "No such file" in str(error.value)
