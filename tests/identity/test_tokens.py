"""Tokens: each attack beside the good token that it was made from, which passes."""

import base64
import contextlib
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addons.identity.oidc import Issuer, Verifier
from addons.identity.refusal import Refused
from tests.identity.forged import FORGED, OTHER, Forge
from tests.identity.idp import NOW, RSA, Idp, b64, jwk, token

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")


def refused(verifier: Verifier, text: str, code: str = "InvalidIdentityToken", now: float = NOW) -> Refused:
    with pytest.raises(Refused) as caught:
        verifier.verify(text, now=now)
    assert caught.value.code == code, caught.value
    assert caught.value.status == 400
    return caught.value


def test_a_good_token_gives_its_claims(idp: Idp, verifier: Verifier) -> None:
    found = verifier.verify(token(idp.claims(sid="s-1", groups=["a", "b", "a"])), now=NOW)
    assert (found.issuer, found.audience, found.subject) == (idp.issuer, "sluicegate", "agent/ada")
    assert (found.groups, found.token_id, found.sid) == (("a", "b"), "t1", "s-1")
    assert (found.issued, found.expires) == (int(NOW) - 10, int(NOW) + 600)


def test_a_token_without_jti_sid_or_groups_is_known_by_its_hash(idp: Idp, verifier: Verifier) -> None:
    text = token(idp.claims(jti=None, groups=None))
    found = verifier.verify(text, now=NOW)
    assert found.token_id == "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:32]
    assert (found.groups, found.sid) == ((), None)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        *((name, RSA) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
        ("ES512", ec.generate_private_key(ec.SECP521R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        ("Ed25519", ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_each_asymmetric_algorithm_verifies_and_a_changed_signature_does_not(
    idp: Idp, verifier: Verifier, algorithm: str, key: Any
) -> None:
    idp.keys = [jwk(key)]
    good = token(idp.claims(), key, header={"alg": algorithm})
    assert verifier.verify(good, now=NOW).subject == "agent/ada"
    signed, _, sig = good.rpartition(".")
    changed = bytearray(base64.urlsafe_b64decode(sig + "=="))
    changed[5] ^= 1
    refused(verifier, f"{signed}.{b64(bytes(changed))}")


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_refused(idp: Idp, verifier: Verifier, forge: Forge) -> None:
    assert verifier.verify(token(idp.claims()), now=NOW).subject == "agent/ada"
    for attack in forge(idp):
        refused(verifier, attack)
    assert all(path in ("/.well-known/openid-configuration", "/keys") for path in idp.requests)


@pytest.mark.parametrize(
    "header", [{"nonce": "azure"}, {"x5t": "abc"}, {"typ": None}, {"typ": "at+jwt"}, {"kid": None}]
)
def test_harmless_headers_of_real_issuers_pass(idp: Idp, verifier: Verifier, header: dict[str, Any]) -> None:
    assert verifier.verify(token(idp.claims(), header=header), now=NOW).subject == "agent/ada"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": ["sluicegate"]},
        {"aud": ["other", "sluicegate"], "azp": "sluicegate"},
        {"aud": "sluicegate", "azp": "the-client-that-asked"},
        {"exp": NOW + 0.5},
        {"iat": int(NOW) + 29, "nbf": int(NOW) + 29},
        {"sub": "system:serviceaccount:agents:deployer"},
        {"sub": "Ада Лавлейс"},
        {"groups": []},
    ],
)
def test_claims_of_real_issuers_pass(idp: Idp, verifier: Verifier, changed: dict[str, Any]) -> None:
    assert verifier.verify(token(idp.claims(**changed)), now=NOW).issuer == idp.issuer


def test_a_token_ends_thirty_seconds_after_its_end_as_clocks_differ(idp: Idp, verifier: Verifier) -> None:
    text = token(idp.claims())
    assert verifier.verify(text, now=NOW + 629).expires == int(NOW) + 600
    assert "get a new one" in refused(verifier, text, "ExpiredTokenException", now=NOW + 630).message


def test_the_groups_claim_is_the_one_that_the_issuer_is_configured_with(idp: Idp) -> None:
    verifier = Verifier([Issuer(idp.issuer, "sluicegate", groups_claim="roles")])
    assert verifier.verify(token(idp.claims(roles=["sre"])), now=NOW).groups == ("sre",)


def test_a_token_of_one_issuer_is_no_token_of_another(idp: Idp) -> None:
    other = Idp()
    try:
        other.keys = [jwk(OTHER)]
        verifier = Verifier([Issuer(idp.issuer, "sluicegate"), Issuer(other.issuer, "sluicegate")])
        assert verifier.verify(token(other.claims(), OTHER), now=NOW).issuer == other.issuer
        refused(verifier, token(idp.claims(), OTHER))
        refused(verifier, token(other.claims(), RSA))
    finally:
        other.close()


def test_a_token_longer_than_sts_takes_is_refused_though_it_is_signed(idp: Idp, verifier: Verifier) -> None:
    room = 20_000 - len(token(idp.claims(x="")))
    fits, does_not = (token(idp.claims(x="x" * (room * 3 // 4 + change))) for change in (-4, 4))
    assert len(fits) <= 20_000 < len(does_not)
    assert verifier.verify(fits, now=NOW).subject == "agent/ada"
    assert "longer" in refused(verifier, does_not).message


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0), letter=st.sampled_from("ABCDEFGHabcdefgh0123456789-_."))
def test_a_changed_character_is_refused_or_changes_nothing(
    idp: Idp, verifier: Verifier, place: int, letter: str
) -> None:
    good = token(idp.claims())
    place %= len(good)
    changed = good[:place] + letter + good[place + 1 :]
    if changed == good:
        return
    if place == len(good) - 1:  # the last character of a base64 part has bits that mean nothing
        with contextlib.suppress(Refused):
            assert verifier.verify(changed, now=NOW) == verifier.verify(good, now=NOW)
        return
    with pytest.raises(Refused):
        verifier.verify(changed, now=NOW)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}", fullmatch=True))
def test_any_text_is_refused_and_nothing_else_is_raised(verifier: Verifier, text: str) -> None:
    refused(verifier, text)


def test_no_message_quotes_the_token(idp: Idp, verifier: Verifier) -> None:
    text = token(idp.claims(jti="canary-jti"), OTHER, header={"kid": "canary-kid"})
    error = refused(verifier, text)
    shown = f"{error!r} {error.message}"
    assert "canary" not in shown
    assert text.split(".")[2] not in shown


@pytest.mark.parametrize(
    "name",
    [
        "http://idp.example.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "https://user:pw@idp.example.com",
        "https://idp.example.com?x=1",
        "https://idp.example.com#x",
        "ftp://idp.example.com",
        "idp.example.com",
        "",
    ],
)
def test_an_issuer_that_is_no_https_url_can_not_be_configured(name: str) -> None:
    Verifier([Issuer("https://idp.example.com/tenant/", "a"), Issuer("http://localhost:8000", "a")])
    with pytest.raises(ValueError, match="https"):
        Verifier([Issuer(name, "sluicegate")])


def test_authlibs_switch_for_insecure_transport_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with pytest.raises(ValueError, match="https"):
        Verifier([Issuer("http://idp.example.com", "sluicegate")])


def test_an_issuer_needs_an_audience_and_one_entry() -> None:
    with pytest.raises(ValueError, match="audience"):
        Verifier([Issuer("https://idp.example.com", "")])
    with pytest.raises(ValueError, match="twice"):
        Verifier([Issuer("https://idp.example.com", "a"), Issuer("https://idp.example.com", "b")])
