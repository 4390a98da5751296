"""Signature Version 4a: ECDSA over P-256, for endpoints that serve several regions (S3's multi-region access points).

The key pair is derived from the access key and its secret, so whoever has made the secret can verify too. Source of
derivation and signing: IAM User Guide, "AWS Signature Version 4a", and "Create a signed AWS API request", task 4.
"""

import hmac
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from addons.wire.authorization import ECDSA

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (FIPS 186-4, D.1.2.3)
_ALGORITHM = ec.ECDSA(SHA256())


@lru_cache(maxsize=1024)
def private_key(access_key: str, secret: str) -> ec.EllipticCurvePrivateKey:
    """The key pair of an AWS key: NIST SP 800-108's counter mode, tried until the number fits the curve."""
    for attempt in range(1, 255):
        context = access_key.encode() + bytes([attempt])
        fixed = (1).to_bytes(4) + ECDSA.encode() + b"\0" + context + (256).to_bytes(4)
        candidate = int.from_bytes(hmac.digest(b"AWS4A" + secret.encode(), fixed, "sha256"))
        if candidate <= _ORDER - 2:
            return ec.derive_private_key(candidate + 1, ec.SECP256R1())
    raise ValueError("no key of P-256 can be derived")  # 254 attempts, each of which fails once in 2 ** 32


def sign(text: str, access_key: str, secret: str) -> str:
    """The signature of a string to sign: DER, in hexadecimal digits. Never the same twice."""
    return private_key(access_key, secret).sign(text.encode(), _ALGORITHM).hex()


def matches(signature: str, text: str, access_key: str, secret: str) -> bool:
    """Whether the holder of this key signed this text."""
    try:
        private_key(access_key, secret).public_key().verify(bytes.fromhex(signature), text.encode(), _ALGORITHM)
    except (InvalidSignature, ValueError):
        return False
    return True
