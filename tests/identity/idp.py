"""An identity provider on loopback that can misbehave, and tokens made by hand.

Signatures are made with `cryptography` alone, so that the code under test is not judged by the library that it uses.
"""

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
NOW = 1_800_000_000.0
RSA = rsa.generate_private_key(65537, 2048)


def b64(data: bytes | str | dict[str, Any]) -> str:
    raw = json.dumps(data).encode() if isinstance(data, dict) else data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(key: PrivateKey, kid: str | None = "k1", **extra: Any) -> dict[str, Any]:
    """The public JWK of a key (RFC 7518 6, RFC 8037 2)."""
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_numbers()
        found = {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        point, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
        curve = {256: "P-256", 384: "P-384", 521: "P-521"}[key.key_size]
        found = {"kty": "EC", "crv": curve, "x": number(point.x, size), "y": number(point.y, size)}
    else:
        found = {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())}
    return found | {"use": "sig"} | ({"kid": kid} if kid is not None else {}) | extra


def signature(algorithm: str, key: PrivateKey | bytes, text: bytes) -> bytes:
    """A JWS signature (RFC 7518 3)."""
    kind, size = algorithm[:2], algorithm[-3:]
    if isinstance(key, bytes):
        return hmac.digest(key, text, f"sha{size}")
    if isinstance(key, rsa.RSAPrivateKey):
        scheme: Any = padding.PKCS1v15()
        if kind == "PS":
            scheme = padding.PSS(padding.MGF1(HASHES[size]), HASHES[size].digest_size)
        return key.sign(text, scheme, HASHES[size])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(HASHES[size])))
        length = (key.key_size + 7) // 8
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")
    return key.sign(text)


def token(
    claims: dict[str, Any] | str,
    key: PrivateKey | bytes = RSA,
    *,
    header: dict[str, Any] | None = None,
    signed_with: str | None = None,
) -> str:
    """A compact JWS. `header` values of None are left out; `signed_with`: an algorithm other than the header's."""
    head = {"alg": "RS256", "kid": "k1", "typ": "JWT"} | (header or {})
    head = {name: value for name, value in head.items() if value is not None}
    text = f"{b64(head)}.{b64(claims)}"
    return f"{text}.{b64(signature(signed_with or head['alg'], key, text.encode()))}"


class At(int):
    """A time, in seconds from when a token is made."""


class Server(ThreadingHTTPServer):
    """Clients that cut the connection are what the tests are about."""

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Idp:
    """Serves discovery and a key set. `special` maps a path to what is done instead."""

    def __init__(self) -> None:
        self.keys: list[Any] = [jwk(RSA)]
        self.metadata: dict[str, Any] = {}
        self.requests: list[str] = []
        self.special: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.clock: Callable[[], float] = lambda: NOW
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append(self.path)
                if special := outer.special.get(self.path):
                    special(self)
                elif self.path == "/.well-known/openid-configuration":
                    send(self, json.dumps({"issuer": outer.issuer, "jwks_uri": outer.jwks_uri} | outer.metadata))
                elif self.path == "/keys":
                    send(self, json.dumps({"keys": outer.keys}))
                else:
                    send(self, "{}", 404)

            def log_message(self, *_: Any) -> None: ...

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port: int = self.server.server_address[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.jwks_uri = f"{self.issuer}/keys"
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims of a good token; a value of None leaves the claim out."""
        now = int(self.clock())
        found = {
            "iss": self.issuer,
            "sub": "agent/ada",
            "aud": "sluicegate",
            "iat": At(-10),
            "exp": At(600),
            "jti": "t1",
            "groups": ["developers"],
        } | changed
        when = {name: now + value if isinstance(value, At) else value for name, value in found.items()}
        return {name: value for name, value in when.items() if value is not None}


def send(handler: BaseHTTPRequestHandler, body: str | bytes, status: int = 200, **headers: str) -> None:
    raw = body.encode() if isinstance(body, str) else body
    handler.send_response(status)
    for name, value in ({"content-length": str(len(raw))} | headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(raw)


def drip(head: bytes, tail: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends `head` at once and `tail` one byte every 50 ms, until the peer has gone."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(head)
            for byte in tail:
                time.sleep(0.05)
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
        except OSError:
            pass
        handler.close_connection = True

    return answer


def certificate(path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and idp.example.com, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    start = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=9))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("idp.example.com")]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path
