"""Issuers as gateway.yaml has them: what is refused with line and hint, keys elsewhere, roots of one's own, reloads."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from addons import config
from addons.identity.groups import Pattern, Rule
from addons.identity.oidc import Issuer, Verifier
from addons.identity.refusal import Refused
from addons.issuers import issuers_of
from policy.problems import Invalid, Problem
from scripts.client import checks
from tests.identity.conftest import Clock
from tests.identity.forged import OTHER
from tests.identity.idp import NOW, Idp, certificate, jwk, token
from tests.identity.test_jwks import DISCOVERY, tls

ROLE = "arn:aws:iam::111122223333:role/agents"
GITHUB = "https://token.actions.githubusercontent.com"


def write(folder: Path, *issuers: str) -> Path:
    """A gateway.yaml whose line 4 is the first issuer's, line 5 the second's."""
    (folder / "policy.yaml").write_text("version: 1\npolicies: []\n")
    listed = "".join(f"  - {{{issuer}}}\n" for issuer in issuers)
    groups = f"groups:\n  developers: {{policies: [./policy.yaml], roles: ['{ROLE}']}}\n"
    (folder / "gateway.yaml").write_text(f"# a gateway\nidentity:\n  issuers:\n{listed}{groups}")
    return folder / "gateway.yaml"


def problems(folder: Path, *issuers: str) -> list[Problem]:
    with pytest.raises(Invalid) as caught:
        config.load(write(folder, *issuers))
    return caught.value.problems


GOOD = 'issuer: "https://idp.example.com"'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('issuer: "http://idp.example.com"', "must be https"),
        ('issuer: "http://127.0.0.1.evil.example"', "must be https"),
        (f'{GOOD}, jwks_uri: "http://idp.example.com/keys"', "must be https"),
        (f'{GOOD}, jwks_uri: "file:///etc/passwd"', "no http or https URL"),
        (f'{GOOD}, audience: ""', "audience is empty"),
        (f"{GOOD}, audience: sts.amazonaws.com", "made for AWS would sign in here"),
        (f'{GOOD}, audience: "https://sts.amazonaws.com/"', "made for AWS would sign in here"),
        (f"{GOOD}, audience: sts.amazonaws.com.cn", "made for AWS would sign in here"),
        (f"{GOOD}, ca: absent.pem", "no certificates can be read"),
        (f"{GOOD}, ca: policy.yaml", "no certificates can be read"),
        (f"{GOOD}, groups_form: []", "did you mean groups_from?"),
        (f"{GOOD}, groups_from: {{}}", "must be a list"),
        (f"{GOOD}, groups_from: [{{claims: {{sub: a}}}}]", "lacks the key 'group'"),
        (f"{GOOD}, groups_from: [{{group: developers}}]", "lacks the key 'claims'"),
        (f"{GOOD}, groups_from: [{{group: developer, claims: {{sub: a}}}}]", "did you mean developers?"),
        (f"{GOOD}, groups_from: [{{group: sre, claims: {{sub: a}}}}]", "no group 'sre'"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{}}}}]", "everybody would be in the group"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{x: true}}}}]", "everybody would be in the group"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{sub: '*'}}}}]", "says nothing of the claim"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{sub: 'a*'}}}}]", "beside other text"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{aud: a}}}}]", "says nothing of who"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{sub: [a]}}}}]", "claims.sub must be"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{sub: a, sub: b}}}}]", "stands twice"),
        (f"{GOOD}, groups_from: [{{group: developers, claims: {{a: {{b: {{c: {{d: e}}}}}}}}}}]", "must be"),
        (f'issuer: "{GITHUB}", groups_from: [{{group: developers, claims: {{ref: refs/heads/main}}}}]', "repository"),
    ],
)
def test_an_issuer_that_can_not_work_or_lets_strangers_in_is_refused_with_its_line(
    tmp_path: Path, text: str, says: str
) -> None:
    found = problems(tmp_path, GOOD.replace("idp", "first"), text)
    assert {problem.line for problem in found} == {5}, found
    assert any(says in str(problem) for problem in found), found


SHARED = {
    GITHUB: (
        ["sub: 'repo:acme/*:ref:refs/heads/main'", "repository: 'acme/*'", "repository_owner_id: 65"],
        [
            "sub: 'repo:*/app:ref:refs/heads/main'",
            "repository: '*/app'",
            "ref: refs/heads/main",
            "sub: {a: b}",
            "sub: a",
            # A stranger's repository may call a public workflow of one's own.
            "job_workflow_ref: 'acme/app/.github/workflows/deploy.yml@refs/heads/main'",
        ],
    ),
    "https://gitlab.com": (
        ["sub: 'project_path:acme/app:ref_type:branch:ref:main'", "namespace_path: acme"],
        ["sub: 'project_path:*/app:ref_type:branch:ref:main'", "ref: main"],
    ),
    "https://accounts.google.com": (["email: '*@acme.com'", "hd: acme.com"], ["email: 'ada@*'", "locale: en"]),
}


@pytest.mark.parametrize("issuer", SHARED)
def test_a_rule_for_an_issuer_that_strangers_use_must_say_whose_tokens_it_means(tmp_path: Path, issuer: str) -> None:
    def entry(claims: str) -> str:
        return f'issuer: "{issuer}", groups_from: [{{group: developers, claims: {{{claims}}}}}]'

    good, bad = SHARED[issuer]
    for claims in good:
        assert issuers_of(config.load(write(tmp_path, entry(claims))))
        assert issuers_of(config.load(write(tmp_path, entry(f"x: y, {claims}"))))
    for claims in bad:
        assert "everybody" in str(problems(tmp_path, entry(claims))[0]), claims


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, 'issuer: "http://idp.example.com"', f"{GOOD}, audience: sts.amazonaws.com")
    assert {problem.line for problem in found} == {4, 5}


def test_an_issuer_that_stands_twice_is_refused(tmp_path: Path) -> None:
    assert "stands twice" in str(problems(tmp_path, GOOD, GOOD)[0])


def test_an_issuer_is_read_as_it_is_written(tmp_path: Path) -> None:
    ca = certificate(tmp_path / "roots.pem")
    rules = '[{group: developers, claims: {kubernetes.io: {namespace: agents}, email_verified: true, n: 7, t: "true"}}]'
    text = f'{GOOD}, audience: gate, groups_claim: null, groups_from: {rules}, jwks_uri: "https://k/", ca: roots.pem'
    claims = {
        "kubernetes.io": {"namespace": Pattern("agents")},
        "email_verified": True,
        "n": Pattern("7"),
        "t": Pattern("true"),
    }
    assert issuers_of(config.load(write(tmp_path, text))) == [
        Issuer("https://idp.example.com", "gate", None, (Rule("developers", claims),), "https://k/", ca)  # type: ignore[arg-type]
    ]


def verified(verifier: Verifier, text: str) -> str:
    """Who a token signs in, or the refusal's code."""
    try:
        return verifier.verify(text, now=NOW).subject
    except Refused as error:
        return error.code


def test_keys_are_fetched_where_the_configuration_says_whatever_discovery_says(idp: Idp) -> None:
    other = Idp()
    other.keys = [jwk(OTHER)]
    try:
        elsewhere = Verifier([Issuer(idp.issuer, "sluicegate", jwks_uri=other.jwks_uri)])
        assert verified(elsewhere, token(idp.claims(), OTHER)) == "agent/ada"
        assert verified(elsewhere, token(idp.claims())) == "InvalidIdentityToken"
        assert (idp.requests, other.requests) == ([], ["/keys"])
    finally:
        other.close()
    for uri in ("http://idp.example.com/keys", "https://user@idp.example.com/keys", "file:///etc/passwd"):
        with pytest.raises(ValueError, match="https"):
            Verifier([Issuer(idp.issuer, "sluicegate", jwks_uri=uri)])


def test_an_issuer_may_have_roots_of_its_own(idp: Idp, tmp_path: Path) -> None:
    file, others = certificate(tmp_path / "idp.pem"), certificate(tmp_path / "others.pem")
    tls(idp, file)
    text = token(idp.claims())
    own = Issuer(idp.issuer, "sluicegate", ca_bundle=file)
    assert verified(Verifier([own], ca_bundle=others), text) == "agent/ada"
    assert verified(Verifier([Issuer(idp.issuer, "sluicegate")], ca_bundle=others), text) == "IDPCommunicationError"
    assert ssl.create_default_context(cafile=file)


def test_a_reload_keeps_the_keys_that_it_has(idp: Idp, clock: Clock) -> None:
    one = Issuer(idp.issuer, "sluicegate")
    verifier = Verifier([one], clock=clock)
    assert verified(verifier, token(idp.claims())) == "agent/ada"
    verifier.configure([one, Issuer("https://idp.example.com", "sluicegate")])
    verifier.configure([Issuer(idp.issuer, "other")])
    assert verified(verifier, token(idp.claims())) == "InvalidIdentityToken"
    assert verified(verifier, token(idp.claims(aud="other"))) == "agent/ada"
    assert idp.requests == [DISCOVERY, "/keys"]
    verifier.configure([Issuer(idp.issuer, "other", jwks_uri=idp.jwks_uri)])
    assert verified(verifier, token(idp.claims(aud="other"))) == "agent/ada"
    assert idp.requests == [DISCOVERY, "/keys", "/keys"]


def test_a_reload_that_can_not_work_changes_nothing(idp: Idp) -> None:
    verifier = Verifier([Issuer(idp.issuer, "sluicegate")])
    with pytest.raises(ValueError, match="twice"):
        verifier.configure([Issuer("https://idp.example.com", "a"), Issuer("https://idp.example.com", "a")])
    assert verified(verifier, token(idp.claims())) == "agent/ada"


def test_groups_are_those_that_the_issuers_rules_give_now(idp: Idp) -> None:
    def issuer(group: str, **claims: str) -> Issuer:
        return Issuer(idp.issuer, "sluicegate", None, (Rule(group, {k: Pattern.parse(v) for k, v in claims.items()}),))

    verifier = Verifier([issuer("ci", sub="job:*")])
    found = verifier.verify(token(idp.claims(sub="job:7", groups=["admins"])), now=NOW)
    assert (found.groups, found.named) == (("ci",), {"sub": "job:7"})
    verifier.configure([issuer("builders", sub="job:*")])
    assert verifier.groups(idp.issuer, found.named) == ("builders",)
    verifier.configure([issuer("builders", sub="job:8")])
    assert verifier.groups(idp.issuer, found.named) == ()
    verifier.configure([])
    with pytest.raises(Refused, match="no longer an issuer"):
        verifier.groups(idp.issuer, found.named)


def test_a_groups_claim_that_is_off_is_not_read(idp: Idp) -> None:
    verifier = Verifier([Issuer(idp.issuer, "sluicegate", groups_claim=None)])
    for groups in (["admins"], "text", 7):
        assert verifier.verify(token(idp.claims(groups=groups)), now=NOW).groups == ()


@pytest.mark.parametrize(
    ("changed", "state", "says"),
    [({}, "ok", "answers"), ({"jwks_uri": "http://127.0.0.1:1/keys"}, "wrong", "refuses connections")],
)
def test_doctor_asks_where_the_keys_are(
    idp: Idp, tmp_path: Path, changed: dict[str, Any], state: str, says: str
) -> None:
    more = "".join(f', {name}: "{value}"' for name, value in changed.items())
    (found,) = checks.identity(config.load(write(tmp_path, f'issuer: "{idp.issuer}"{more}')))
    assert found.state == state
    assert says in found.found
