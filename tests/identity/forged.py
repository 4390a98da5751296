"""Tokens that must not sign anybody in, each made from a good one: for the verifier alone, and for a whole gateway."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.identity.idp import RSA, At, Idp, b64, jwk, signature, token

Forge = Callable[[Idp], list[str]]
Header = dict[str, Any]
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OTHER = rsa.generate_private_key(65537, 2048)

# How a token is signed: with the issuer's key, with another, with bytes as an HMAC's key, or not at all.
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
    ("issued in the future", {"iat": At(31)}),
    ("not yet good", {"nbf": At(31)}),
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


NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999"]  # that JSON has not, or Python reads as no number

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


def with_header(header: Header, how: Any) -> Forge:
    """A token with this header."""

    def forge(idp: Idp) -> list[str]:
        head = {"alg": "RS256", "kid": "k1", "typ": "JWT"} | header
        if head["alg"] is None:
            head = {"kid": "k1"}
        text = f"{b64(head)}.{b64(idp.claims())}"
        if how is None:
            return [f"{text}.", f"{text}.{b64(signature('RS256', RSA, text.encode()))}"]
        if isinstance(how, bytes):
            algorithm = header.get("alg", "HS256")
            hashed = algorithm if algorithm[:2] == "HS" else "HS256"
            return [f"{text}.{b64(signature(hashed, how, text.encode()))}"]
        key = how if isinstance(how, rsa.RSAPrivateKey) else RSA
        return [f"{text}.{b64(signature('RS256', key, text.encode()))}"]

    return forge


def forgeries() -> Iterator[tuple[str, Forge]]:
    """Every forged token by the name of its trick."""
    for name, header, how in HEADERS:
        yield f"header: {name}", with_header(header, how)
    for name, changed in CLAIMS:
        yield f"claim: {name}", lambda idp, changed=changed: [token(idp.claims(**changed))]  # type: ignore[misc]
    for number in NUMBERS:
        yield (
            f"claim: an end that is {number}",
            lambda idp, number=number: [token(json.dumps(idp.claims(exp="END")).replace('"END"', number))],  # type: ignore[misc]
        )
    for name, change in MALFORMED:
        yield f"form: {name}", lambda idp, change=change: [change(token(idp.claims()))]  # type: ignore[misc]


FORGED = dict(forgeries())
