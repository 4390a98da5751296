"""Tokens: each attack beside the good token that it was made from, which passes."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addons.identity.oidc import Issuer, Verifier
from addons.identity.refusal import Refused
from tests.identity.idp import NOW, RSA, Idp, b64, jwk, signature, token

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OTHER = rsa.generate_private_key(65537, 2048)


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


Header = dict[str, Any]
HEADERS: list[tuple[str, Header, Any]] = [
    ("none", {"alg": "none"}, None),
    ("none in other letters", {"alg": "NoNe"}, None),
    ("HMAC with the public key as PEM", {"alg": "HS256"}, PEM),
    ("HMAC with the modulus", {"alg": "HS256"}, jwk(RSA)["n"].encode()),
    ("HMAC with the JWK's JSON", {"alg": "HS256"}, json.dumps(jwk(RSA)).encode()),
    ("HMAC with nothing", {"alg": "HS512"}, b""),
    ("no algorithm", {"alg": None}, "RS256"),
    ("an algorithm that is a list", {"alg": ["RS256"]}, "RS256"),
    ("an unknown algorithm", {"alg": "RS1"}, "RS256"),
    ("another algorithm than signed with", {"alg": "PS256"}, "RS256"),
    ("an algorithm that the key is not for", {"alg": "ES256"}, "RS256"),
    ("another key under the right kid", {}, OTHER),
    ("an unknown kid", {"kid": "k2"}, "RS256"),
    ("a kid that is a path", {"kid": "../../../../dev/null"}, b""),
    ("a kid that is SQL", {"kid": "x' UNION SELECT 'key'--"}, "RS256"),
    ("a kid that is a number", {"kid": 1}, "RS256"),
    ("a kid that is a list", {"kid": ["k1"]}, "RS256"),
    ("an empty kid", {"kid": ""}, "RS256"),
    ("a JWK brought along", {"jwk": jwk(OTHER)}, OTHER),
    ("a JWK brought along, signature good", {"jwk": jwk(RSA)}, "RS256"),
    ("a key set's URL", {"jku": "http://127.0.0.1:1/keys"}, OTHER),
    ("a key set's URL, signature good", {"jku": "https://idp.example.com/keys"}, "RS256"),
    ("a certificate's URL", {"x5u": "https://idp.example.com/cert"}, "RS256"),
    ("a certificate", {"x5c": ["MIIB"]}, "RS256"),
    ("a critical extension", {"crit": ["exp"], "exp": 1}, "RS256"),
    ("an unencoded payload", {"b64": False, "crit": ["b64"]}, "RS256"),
    ("a critical extension that is none", {"crit": ["kid"]}, "RS256"),
    ("a stated encoding of the payload", {"b64": True}, "RS256"),
    ("a logout token", {"typ": "logout+jwt"}, "RS256"),
    ("a type that is no string", {"typ": 1}, "RS256"),
    ("a header over 2 KB", {"x5t": "A" * 3000}, "RS256"),
]


@pytest.mark.parametrize(("header", "how"), [case[1:] for case in HEADERS], ids=[case[0] for case in HEADERS])
def test_a_header_that_asks_for_anything_else_is_refused(
    idp: Idp, verifier: Verifier, header: Header, how: Any
) -> None:
    assert verifier.verify(token(idp.claims()), now=NOW).subject == "agent/ada"
    text = f"{b64({'alg': 'RS256', 'kid': 'k1', 'typ': 'JWT'} | header)}.{b64(idp.claims())}"
    if header.get("alg", "x") is None:
        text = f"{b64({'kid': 'k1'})}.{b64(idp.claims())}"
    if how is None:
        attacks = [f"{text}.", f"{text}.{b64(signature('RS256', RSA, text.encode()))}"]
    elif isinstance(how, bytes):
        alg = header.get("alg", "HS256")
        attacks = [f"{text}.{b64(signature(alg if alg[:2] == 'HS' else 'HS256', how, text.encode()))}"]
    else:
        key = how if isinstance(how, rsa.RSAPrivateKey) else RSA
        attacks = [f"{text}.{b64(signature('RS256', key, text.encode()))}"]
    for attack in attacks:
        refused(verifier, attack)
    assert all(path in ("/.well-known/openid-configuration", "/keys") for path in idp.requests)


@pytest.mark.parametrize(
    "header", [{"nonce": "azure"}, {"x5t": "abc"}, {"typ": None}, {"typ": "at+jwt"}, {"kid": None}]
)
def test_harmless_headers_of_real_issuers_pass(idp: Idp, verifier: Verifier, header: Header) -> None:
    assert verifier.verify(token(idp.claims(), header=header), now=NOW).subject == "agent/ada"


CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("another issuer", {"iss": "https://attacker.example"}),
    ("no issuer", {"iss": None}),
    ("an issuer that is a list", {"iss": ["x"]}),
    ("another audience", {"aud": "sts.amazonaws.com"}),
    ("an audience that is a number", {"aud": 1}),
    ("no audience", {"aud": None}),
    ("an empty list of audiences", {"aud": []}),
    ("an empty audience", {"aud": ""}),
    ("an audience that is an object", {"aud": {"sluicegate": 1}}),
    ("an audience in a nested list", {"aud": [["sluicegate"]]}),
    ("an audience that starts alike", {"aud": "sluicegate2"}),
    ("an audience in other letters", {"aud": "Sluicegate"}),
    ("several audiences without azp", {"aud": ["sluicegate", "other"]}),
    ("several audiences with another's azp", {"aud": ["sluicegate", "other"], "azp": "other"}),
    ("several audiences, one a number", {"aud": ["sluicegate", 1], "azp": "sluicegate"}),
    ("several audiences without ours", {"aud": ["a", "b"], "azp": "sluicegate"}),
    ("no end", {"exp": None}),
    ("an end that is text", {"exp": "4102444800"}),
    ("an end that is true", {"exp": True}),
    ("an end that is a list", {"exp": [4102444800]}),
    ("an end past every date", {"exp": 1e300}),
    ("a negative end", {"exp": -1}),
    ("no beginning", {"iat": None}),
    ("a beginning that is text", {"iat": "now"}),
    ("issued in the future", {"iat": int(NOW) + 31}),
    ("not yet good", {"nbf": int(NOW) + 31}),
    ("a not-before that is text", {"nbf": "0"}),
    ("no subject", {"sub": None}),
    ("an empty subject", {"sub": ""}),
    ("a blank subject", {"sub": "  "}),
    ("a subject that is a number", {"sub": 7}),
    ("a subject that is a list", {"sub": ["agent/ada"]}),
    ("a subject with a line break", {"sub": "ada\nroot"}),
    ("a subject with a bidi mark", {"sub": "ada\u202egpj"}),
    ("a subject with half a character", {"sub": "ada\ud800"}),
    ("a huge subject", {"sub": "a" * 513}),
    ("groups as text", {"groups": "developers"}),
    ("groups as an object", {"groups": {"developers": True}}),
    ("groups of numbers", {"groups": [1]}),
    ("groups within groups", {"groups": [["developers"]]}),
    ("an empty group", {"groups": [""]}),
    ("a jti that is a number", {"jti": 1}),
    ("a sid that is a list", {"sid": ["x"]}),
    ("a logout event", {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
]


@pytest.mark.parametrize("changed", [case[1] for case in CLAIMS], ids=[case[0] for case in CLAIMS])
def test_a_claim_that_does_not_hold_is_refused(idp: Idp, verifier: Verifier, changed: dict[str, Any]) -> None:
    assert verifier.verify(token(idp.claims()), now=NOW).subject == "agent/ada"
    refused(verifier, token(idp.claims(**changed)))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_end_that_is_no_number_is_refused(idp: Idp, verifier: Verifier, number: str) -> None:
    text = json.dumps(idp.claims()).replace(str(int(NOW) + 600), number)
    refused(verifier, token(text))


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


MALFORMED: list[tuple[str, Callable[[str], str]]] = [
    ("empty", lambda good: ""),
    ("no token", lambda good: "token"),
    ("two parts", lambda good: good.rsplit(".", 1)[0]),
    ("encrypted: five parts", lambda good: good + ".e.f"),
    ("empty parts", lambda good: ".."),
    ("a header that is a list", lambda good: f"{b64('[]')}.{good.split('.', 1)[1]}"),
    ("a header that is no JSON", lambda good: f"{b64('{')}.{good.split('.', 1)[1]}"),
    ("no base64", lambda good: "!" + good),
    ("no ASCII", lambda good: "é" + good),
    ("a claim set that is a list", lambda good: f"{good.split('.')[0]}.{b64('[]')}.{good.split('.')[2]}"),
    ("deep nesting", lambda good: f"{good.split('.')[0]}.{b64('[' * 9000)}.{good.split('.')[2]}"),
    ("a number of 9,000 digits", lambda good: f"{good.split('.')[0]}.{b64('9' * 9000)}.{good.split('.')[2]}"),
    ("140 KB", lambda good: good + "A" * 140_000),
    ("a blank before", lambda good: " " + good),
]


@pytest.mark.parametrize("change", [case[1] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_what_is_no_token_is_refused(idp: Idp, verifier: Verifier, change: Callable[[str], str]) -> None:
    good = token(idp.claims())
    assert verifier.verify(good, now=NOW).subject == "agent/ada"
    refused(verifier, change(good))


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
