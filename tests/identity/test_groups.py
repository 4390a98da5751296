"""Rules that make groups of claims: what matches, what never does, and how a session carries it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.identity.groups import LONGEST, Pattern, Rule, groups_of, named_claims

# https://docs.github.com/en/actions/reference/security/oidc
GITHUB = {
    "iss": "https://token.actions.githubusercontent.com",
    "sub": "repo:acme/app:ref:refs/heads/main",
    "aud": "sluicegate",
    "repository": "acme/app",
    "repository_owner_id": "65",
    "ref": "refs/heads/main",
    "event_name": "push",
    "runner_environment": "github-hosted",
}
# https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims
KUBERNETES = {
    "iss": "https://oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE",
    "sub": "system:serviceaccount:agents:deployer",
    "aud": ["sluicegate"],
    "kubernetes.io": {
        "namespace": "agents",
        "node": {"name": "127.0.0.1", "uid": "58456cb0-dd00-45ed-b797-5578fdceaced"},
        "pod": {"name": "deployer-69cbfb9798-jv9gn", "uid": "778a530c-b3f4-47c0-9cd5-ab018fb64f33"},
        "serviceaccount": {"name": "deployer", "uid": "a087d5a0-e1dd-43ec-93ac-f13d89cd13af"},
    },
}


def rule(**claims: Any) -> Rule:
    """A rule as the loader makes it: text becomes patterns."""

    def built(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: built(inner) for name, inner in value.items()}
        return Pattern.parse(value) if isinstance(value, str) else value

    return Rule("ci", built(claims))


@pytest.mark.parametrize(
    "pattern",
    [
        "repo:acme/app:ref:refs/heads/main",
        "repo:acme/*:ref:refs/heads/main",
        "repo:*/app:ref:refs/heads/main",
        "repo:acme/app:ref:refs/heads/*",
        "repo:acme/app:*:refs/*/main",
    ],
)
def test_a_pattern_matches_the_claim_that_it_is_meant_for(pattern: str) -> None:
    assert Pattern.parse(pattern).matches(GITHUB["sub"])


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("repo:acme/*:ref:refs/heads/main", "repo:acme-evil/app:ref:refs/heads/main"),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/evil"),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/app:pull_request"),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/a:ref:refs/heads/main:ref:refs/heads/main"),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/:ref:refs/heads/main"),
        ("repo:acme/*", "repo:acme/app:ref:refs/heads/main"),
        ("repo:acme/app:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/main "),
        ("repo:acme/app:ref:refs/heads/main", "repo:acme/app:ref:refs/heads/main\n"),
        ("repo:acme/app:ref:refs/heads/main", "repo:Acme/app:ref:refs/heads/main"),
        ("repo:acme/app:ref:refs/heads/main", "xrepo:acme/app:ref:refs/heads/main"),
        ("*@acme.com", "eve@acme.com@evil.example"),
        ("*@acme.com", "eve@notacme.com"),
        ("*@acme.com", "@acme.com"),
        ("a.c", "abc"),
        ("[ab]", "a"),
        ("?", "a"),
        ("true", True),
        ("1", 1),
        ("a", None),
        ("a", {"a": 1}),
        ("a", ["b", 1, ["a"], {"a": "a"}]),
        ("a", []),
    ],
)
def test_a_pattern_matches_nothing_else(pattern: str, value: object) -> None:
    assert not Pattern.parse(pattern).matches(value)


def test_one_member_of_a_list_is_enough() -> None:
    assert Pattern.parse("deployer").matches(["viewer", "deployer"])
    assert Pattern.parse("team:*").matches(["viewer", "team:ops"])
    assert Pattern.parse("*@acme.com").matches("ada@acme.com")


@pytest.mark.parametrize(
    "text", ["", " ", "*", "**", "*/*", "::", "* *", "repo:acme*", "repo:acme*/app", "a*b", "**:a"]
)
def test_a_pattern_that_may_match_strangers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"says nothing|beside other text"):
        Pattern.parse(text)


@pytest.mark.parametrize("text", ["a\nb", "a\u202eb", "a" * (LONGEST + 1)])
def test_a_pattern_is_short_and_printable(text: str) -> None:
    assert Pattern.parse("a" * LONGEST)
    with pytest.raises(ValueError, match="printable"):
        Pattern.parse(text)


PART = st.text(st.characters(exclude_characters=":/@*", categories=["L", "N", "P", "S"]), min_size=1, max_size=8)


@given(parts=st.lists(PART | st.just("*"), min_size=2, max_size=5), value=st.lists(PART, min_size=1, max_size=5))
def test_a_pattern_matches_what_has_as_many_parts_all_of_them_the_same_or_any(
    parts: list[str], value: list[str]
) -> None:
    parts.append("end")
    fits = len(value) == len(parts) and all(p in ("*", v) for p, v in zip(parts, value, strict=False))
    assert Pattern.parse(":".join(parts)).matches(":".join(value)) is fits
    same = [v if p == "*" else p for p, v in zip(parts, value * 6, strict=False)]
    assert Pattern.parse("/".join(parts)).matches("/".join(same))


@pytest.mark.parametrize(
    ("claims", "made"),
    [
        (GITHUB, rule(repository="acme/app", ref="refs/heads/main")),
        (GITHUB, rule(repository_owner_id="65", repository="acme/*")),
        (KUBERNETES, rule(sub="system:serviceaccount:agents:deployer")),
        (KUBERNETES, rule(sub="system:serviceaccount:agents:*")),
        (KUBERNETES, rule(**{"kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "deployer"}}})),
        ({"email": "ada@acme.com", "email_verified": True}, rule(email="*@acme.com", email_verified=True)),
    ],
)
def test_a_rule_holds_where_every_claim_matches(claims: dict[str, Any], made: Rule) -> None:
    assert groups_of(claims, None, [made]) == ("ci",)
    carried = named_claims(claims, None, [made])
    assert groups_of(carried, None, [made]) == ("ci",)
    assert carried.keys() == made.claims.keys()


@pytest.mark.parametrize(
    ("claims", "made"),
    [
        (GITHUB, rule(repository="acme/app", ref="refs/heads/release")),
        (GITHUB, rule(repository="acme/app", environment="production")),
        (KUBERNETES, rule(**{"kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "other"}}})),
        (KUBERNETES, rule(kubernetes={"io": {"namespace": "agents"}})),
        (KUBERNETES, rule(**{"kubernetes.io": "agents"})),
        (KUBERNETES, rule(sub={"namespace": "agents"})),
        (KUBERNETES, rule(namespace="agents")),
        ({"email": "ada@acme.com", "email_verified": "true"}, rule(email="*@acme.com", email_verified=True)),
        ({"email": "ada@acme.com", "email_verified": 1}, rule(email="*@acme.com", email_verified=True)),
        ({"email": "ada@acme.com", "email_verified": False}, rule(email="*@acme.com", email_verified=True)),
        ({"email": "ada@acme.com"}, rule(email="*@acme.com", email_verified=False)),
        ({}, rule(sub="a")),
    ],
)
def test_a_rule_does_not_hold_where_one_claim_does_not(claims: dict[str, Any], made: Rule) -> None:
    assert groups_of(claims, None, [made]) == ()
    assert groups_of(named_claims(claims, None, [made]), None, [made]) == ()


@pytest.mark.parametrize(
    "claims",
    [{}, {"email_verified": True}, {"a": {}}, {"aud": "sluicegate"}, {"sub": "a", "iss": "https://idp.example.com"}],
)
def test_a_rule_that_says_nothing_of_who_it_is_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"everybody|says nothing"):
        rule(**claims)


def test_the_groups_claim_and_the_rules_add_up() -> None:
    claims = {"groups": ["a", "ci", "b"], "sub": "x"}
    assert groups_of(claims, "groups", [rule(sub="x")]) == ("a", "ci", "b")
    assert groups_of(claims, None, [rule(sub="x")]) == ("ci",)
    assert groups_of(claims, "roles", [rule(sub="y")]) == ()


def test_a_session_carries_what_rules_name_and_nothing_else() -> None:
    rules = [
        rule(**{"kubernetes.io": {"namespace": "agents"}}),
        rule(**{"kubernetes.io": {"serviceaccount": {"name": "deployer"}}}, sub="x"),
    ]
    assert named_claims(KUBERNETES, "groups", rules) == {
        "kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "deployer"}},
        "sub": KUBERNETES["sub"],
    }
    assert named_claims(
        {"sub": {"a": 1}, "groups": "text", "x": ["a", 1, ["b"]]}, "groups", [rule(sub="s", x="a")]
    ) == {"x": ["a"]}


def test_a_rule_over_a_claim_that_the_session_does_not_carry_matches_nothing() -> None:
    carried = named_claims(GITHUB, None, [rule(repository="acme/app")])
    assert groups_of(carried, None, [rule(repository="acme/app", ref="refs/heads/main")]) == ()
    assert groups_of(carried, None, [rule(repository="acme/*")]) == ("ci",)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_a_pattern_for_itself_alone_or_refused(text: str, other: str) -> None:
    try:
        made = Pattern.parse(text)
    except ValueError:
        return
    assert made.matches(text) or "*" in text
    if "*" not in text:
        assert made.matches(other) is (text == other)
