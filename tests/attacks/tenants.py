"""Issuers that are configured, and lie, stall or flood: each at a path of its own on one server."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.identity.idp import RSA, Idp, b64, drip, jwk, send, token

Handler = Callable[[BaseHTTPRequestHandler], None]
DISCOVERY = "/.well-known/openid-configuration"
SECRET = b"a secret of thirty-two bytes ....."
OTHER = rsa.generate_private_key(65537, 2048)
OCT = {"kty": "oct", "k": b64(SECRET), "kid": "k1", "alg": "HS256"}


class Tenants:
    """Bad issuers by what is bad about them; `other` is a server that none of them may lead the gateway to."""

    def __init__(self, idp: Idp) -> None:
        self.idp = idp
        self.other = Idp()
        self.made: dict[str, str] = {}
        good, other = json.dumps({"keys": [jwk(RSA)]}), self.other.jwks_uri
        huge = good + " " * 1_000_001
        self._add("oct", keys=says(json.dumps({"keys": [OCT]})))
        self._add("oct-beside", keys=says(json.dumps({"keys": [OCT, jwk(OTHER, "other")]})))
        self._add("short", keys=says(json.dumps({"keys": [jwk(rsa.generate_private_key(65537, 1024))]})))
        self._add("encryption", keys=says(json.dumps({"keys": [jwk(RSA, use="enc")]})))
        self._add("no-keys", keys=says('{"keys": []}'))
        self._add("other-issuer", metadata={"issuer": self.idp.issuer})
        self._add("other-origin", metadata={"jwks_uri": other})
        self._add("metadata-service", metadata={"jwks_uri": "http://169.254.169.254/latest/meta-data/"})
        self._add("file", metadata={"jwks_uri": "file:///etc/passwd"})
        self._add("discovery-redirect", discovery=says("", 302, location=f"{self.other.issuer}{DISCOVERY}"))
        self._add("keys-redirect", keys=says(good, 307, location=other))
        self._add("huge-discovery", discovery=says(huge))
        self._add("huge-keys", keys=says(huge))
        self._add("bomb", keys=says("[" * 200_000))
        self._add("error", keys=says(good, 500))
        self._add("html", discovery=says("<html>"))
        self.slow = [
            self._add("drip", keys=drip(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b" " * 400)),
            self._add("drip-head", discovery=drip(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 400)),
        ]

    @property
    def issuers(self) -> list[str]:
        return list(self.made.values())

    def close(self) -> None:
        self.other.close()

    def _add(
        self,
        name: str,
        *,
        metadata: dict[str, Any] | None = None,
        discovery: Handler | None = None,
        keys: Handler | None = None,
    ) -> str:
        issuer = f"{self.idp.issuer}/{name}"
        found = {"issuer": issuer, "jwks_uri": f"{issuer}/keys"} | (metadata or {})
        self.idp.special[f"/{name}{DISCOVERY}"] = discovery or says(json.dumps(found))
        self.idp.special[f"/{name}/keys"] = keys or says(json.dumps({"keys": [jwk(RSA)]}))
        self.made[name] = issuer
        return issuer

    def token(self, name: str, **header: Any) -> str:
        """A token that is good but for its issuer."""
        claims = self.idp.claims(iss=self.made[name])
        if header.get("alg") == "HS256":
            return token(claims, SECRET, header=header)
        return token(claims, RSA, header=header)


def says(body: str, status: int = 200, **headers: str) -> Handler:
    return lambda handler: send(handler, body, status, **headers)
