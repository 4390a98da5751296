"""Who is in a group by rules over claims: near misses are in none, and a changed rule counts at the next call."""

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.door import Door, keys, opened, refused
from tests.fail_closed.conftest import until
from tests.harness import ROLE

RULES = "[{group: ci, claims: {sub: 'repo:acme/*:ref:refs/heads/main', runner_environment: github-hosted}}]"
IDENTITY = "{local: true, issuers: [{issuer: 'ISSUER', groups_claim: null, groups_from: RULES}]}"
GROUPS = "{ci: {policies: [./policy.yaml], roles: ['%s']}, developers: {policies: [./policy.yaml], roles: ['%s']}}"
SUB = "repo:acme/app:ref:refs/heads/main"
GITHUB: dict[str, Any] = {"sub": SUB, "runner_environment": "github-hosted", "groups": None, "job": "build"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    identity = IDENTITY.replace("RULES", RULES)
    with opened(tmp_path_factory.mktemp("gateway"), identity, GROUPS % (ROLE, ROLE)) as made:
        yield made


def reload(door: Door, kind: str = "reload", rules: str = RULES, identity: str = IDENTITY) -> dict[str, Any]:
    """Write a configuration with these rules, and wait for what comes of it."""

    def events() -> list[dict[str, Any]]:
        return [line for line in door.stand.records() if line["eventName"] == kind]

    path, before = door.stand.gateway.config, len(events())
    made = identity.replace("RULES", rules).replace("ISSUER", door.idp.issuer)
    path.write_text(re.sub("(?m)^identity: .*$", lambda _: f"identity: {made}", path.read_text()))
    door.stand.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: len(events()) > before, f"the event {kind}")
    return events()[-1]


@pytest.fixture
def restored(door: Door) -> Iterator[None]:
    yield
    reload(door)


def test_a_token_that_a_rule_names_is_in_the_group(door: Door) -> None:
    assert door.stand.call(keys=keys(door.sign_in(door.good(**GITHUB)))).status == 200
    assert door.stand.last_call()["additionalEventData"]["sluicegate"]["groups"] == ["ci"]
    assert door.stand.last_call()["userIdentity"]["sessionContext"]["sourceIdentity"] == SUB


NEAR: dict[str, dict[str, Any]] = {
    "another owner that begins so": {"sub": "repo:acme-evil/app:ref:refs/heads/main"},
    "another owner that ends so": {"sub": "repo:evil-acme/app:ref:refs/heads/main"},
    "another branch": {"sub": "repo:acme/app:ref:refs/heads/evil"},
    "a pull request": {"sub": "repo:acme/app:pull_request"},
    "a branch with a slash": {"sub": "repo:acme/app:ref:refs/heads/main/x"},
    "a repository with a colon": {"sub": "repo:acme/app:ref:refs/heads/x:ref:refs/heads/main"},
    "a repository without a name": {"sub": "repo:acme/:ref:refs/heads/main"},
    "other letters": {"sub": SUB.upper()},
    "a blank at the end": {"sub": SUB + " "},
    "a full-width slash": {"sub": SUB.replace("/", "\uff0f")},
    "another claim that is not so": {"runner_environment": "self-hosted"},
    "another claim that is not there": {"runner_environment": None},
    "another claim that is true": {"runner_environment": True},
    "another claim in an object": {"runner_environment": {"github-hosted": "github-hosted"}},
    "a groups claim where there is none": {"sub": "x", "groups": ["ci", "developers"]},
}


@pytest.mark.parametrize("miss", NEAR)
def test_a_near_miss_is_in_no_group(door: Door, miss: str) -> None:
    with door.stand.nothing_passes():
        assert door.sign_in(door.good(**GITHUB)).status == 200
        refused(door.sign_in(door.good(**GITHUB | NEAR[miss])), "AccessDenied")


@pytest.mark.usefixtures("restored")
def test_a_rule_counts_at_the_next_call_as_it_is_then(door: Door) -> None:
    ci = keys(door.sign_in(door.good(**GITHUB)))
    assert door.stand.call(keys=ci).status == 200
    reload(door, rules="[{group: ci, claims: {sub: 'repo:acme/other:ref:refs/heads/main'}}]")
    with door.stand.nothing_passes():
        answer = door.stand.call(keys=ci)
    assert answer.status == 403
    assert "no longer have the role" in json.loads(answer.body)["message"]
    reload(door, rules="[{group: developers, claims: {sub: 'repo:acme/app:ref:refs/heads/*'}}]")
    assert door.stand.call(keys=ci).status == 200
    assert door.stand.last_call()["additionalEventData"]["sluicegate"]["groups"] == ["developers"]


@pytest.mark.usefixtures("restored")
def test_a_rule_over_a_claim_that_the_session_does_not_carry_counts_from_the_next_sign_in(door: Door) -> None:
    ci = keys(door.sign_in(door.good(**GITHUB)))
    reload(door, rules=RULES.replace("sub:", "job: build, sub:"))
    with door.stand.nothing_passes():
        assert door.stand.call(keys=ci).status == 403
    assert door.stand.call(keys=keys(door.sign_in(door.good(**GITHUB)))).status == 200


@pytest.mark.usefixtures("restored")
def test_a_session_of_an_issuer_that_is_no_longer_listed_ends_at_the_next_call(door: Door) -> None:
    ci = keys(door.sign_in(door.good(**GITHUB)))
    reload(door, identity="{local: true}")
    with door.stand.nothing_passes():
        answer = door.stand.call(keys=ci)
        refused(door.sign_in(door.good(**GITHUB)), "InvalidIdentityToken")
    assert answer.status == 403
    assert "no longer an issuer here" in json.loads(answer.body)["message"]
    assert door.stand.call().status == 200, "the built-in issuer's sessions go on"


@pytest.mark.usefixtures("restored")
def test_the_built_in_issuers_sessions_end_when_it_is_switched_off(door: Door) -> None:
    reload(door, identity=IDENTITY.replace("local: true", "local: false"))
    with door.stand.nothing_passes():
        assert door.stand.call().status == 403
    assert door.stand.call(keys=keys(door.sign_in(door.good(**GITHUB)))).status == 200


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    "rules",
    [
        "[{group: ci, claims: {sub: '*'}}]",
        "[{group: ci, claims: {sub: 'repo:acme*'}}]",
        "[{group: ci, claims: {}}]",
        "[{group: absent, claims: {sub: a}}]",
        "[{group: ci, claim: {sub: a}}]",
    ],
)
def test_rules_that_would_let_everybody_in_are_not_loaded(door: Door, rules: str) -> None:
    line = reload(door, "reload-failed", rules)
    assert "gateway.yaml:" in json.dumps(line)
    with door.stand.nothing_passes():
        refused(door.sign_in(door.good(sub="eve", groups=None)), "AccessDenied")
    assert door.stand.call(keys=keys(door.sign_in(door.good(**GITHUB)))).status == 200


def test_a_reload_fetches_no_keys(door: Door) -> None:
    assert door.sign_in(door.good(**GITHUB)).status == 200
    fetched = len(door.idp.requests)
    reload(door)
    assert door.sign_in(door.good(**GITHUB)).status == 200
    assert len(door.idp.requests) == fetched
