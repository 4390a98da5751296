"""What the configuration says of real credentials: the role that is assumed for a group, and accounts that are ours."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from addons import config, custody
from addons.identity.upstream import UpstreamUnavailable
from addons.services import Services
from policy.problems import Invalid
from tests.harness import configuration

README = Path(__file__).parent.parent.parent / "README.md"
ROLE, REAL = "arn:aws:iam::111122223333:role/agents-dev", "arn:aws:iam::444455556666:role/real"


def loaded(directory: Path, **extra: str) -> config.Config:
    (directory / "policy.yaml").write_text("version: 1\npolicies: []\n")
    (directory / "gateway.yaml").write_text(configuration("http://127.0.0.1:5000", **extra))
    return config.load(directory / "gateway.yaml").config


def group(name: str, assume: str = "", role: str = ROLE) -> str:
    return f"{name}: {{policies: [./policy.yaml], roles: ['{role}']{f', assume: {assume}' if assume else ''}}}"


def test_the_readmes_example_is_good(tmp_path: Path) -> None:
    block = README.read_text().split("<!-- assume.yaml -->\n```yaml\n")[1].split("```")[0]
    (tmp_path / "policy.yaml").write_text("version: 1\npolicies: []\n")
    (tmp_path / "gateway.yaml").write_text(
        configuration("http://127.0.0.1:5000", groups="").replace("groups: \n", block)
    )
    found = config.load(tmp_path / "gateway.yaml").config.groups["developers"].assume
    assert found == config.Assume("arn:aws:iam::111122223333:role/sluicegate-dev", None, "policy")


def test_a_role_is_assumed_only_where_the_configuration_says_so(tmp_path: Path) -> None:
    groups = f"{{{group('a')}, {group('b', f'{{role: {REAL!r}}}', ROLE + '2')}}}"
    found = loaded(tmp_path, groups=groups).groups
    assert found["a"].assume is None
    assert found["b"].assume == config.Assume(REAL)


BROKEN = {
    "a role that is none": ("groups", f"{{{group('a', '{role: real}')}}}", "no role ARN"),
    "an external id that AWS refuses": (
        "groups",
        f"{{{group('a', f'{{role: {REAL!r}, external_id: a b}}')}}}",
        "external",
    ),
    "an unknown kind": ("groups", f"{{{group('a', f'{{role: {REAL!r}, session_policy: x}}')}}}", "session_policy"),
    "no role": ("groups", f"{{{group('a', '{session_policy: none}')}}}", "role"),
    "one role that is two": ("groups", f"{{{group('a')}, {group('b', f'{{role: {REAL!r}}}')}}}", "share"),
    "an account that is none": ("upstream", "{accounts: {'1234': []}}", "twelve digits"),
    "a bucket that is none": ("upstream", "{accounts: {'444455556666': ['Data']}}", "bucket"),
}


@pytest.mark.parametrize(("key", "text", "said"), BROKEN.values(), ids=BROKEN)
def test_mistakes_are_said(tmp_path: Path, key: str, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=re.escape(said)):
        loaded(tmp_path, **{key: text})


async def test_a_call_that_was_decided_for_another_account_is_not_signed() -> None:
    """A reload between the decision and the signature may have moved the group."""
    services = cast(Any, SimpleNamespace(account_of=lambda session: "444455556666"))
    call = cast(Any, SimpleNamespace(session=object(), decision=object(), account="111122223333"))
    with pytest.raises(UpstreamUnavailable, match="reloaded"):
        await custody.credentials(services, call)


def test_every_session_has_the_account_that_its_calls_go_to() -> None:
    """The gateway's own, that of the role assumed for it, that of the role which it assumed itself."""
    rules = SimpleNamespace(assumes={ROLE: config.Assume(REAL)})
    services = cast(Any, SimpleNamespace(rules=rules, account="999999999999"))
    services.account_of_role = lambda role: Services.account_of_role(services, role)

    def account(role: str, *assumed: str) -> str:
        return Services.account_of(services, cast(Any, SimpleNamespace(role=role, assumed=assumed)))

    assert account("arn:aws:iam::111122223333:role/other") == "999999999999"
    assert account(ROLE) == "444455556666"
    assert account(ROLE, "arn:aws:iam::555555555555:role/x") == "555555555555"
    assert Services.account_of(services, None) == "999999999999"
