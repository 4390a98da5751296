"""The public keys of one issuer: read strictly from a JWKS (RFC 7517), cached, fetched again at need.

Rules: only asymmetric signature keys are taken from the set (an `oct` key in it is a shared secret, never ours). A
set lives `TTL` seconds, so a withdrawn key is accepted that long. A token with an unknown key id makes us fetch at
once, but at most every `FLOOR` seconds, whatever the tokens say. While the issuer is down, the last set is used for
`STALE` seconds; while it is slow, tokens of unknown keys leave those of known ones a thread.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

TTL = 300.0
FLOOR = 10.0
STALE = 3600.0
WAITERS = (
    2  # threads that wait for another's fetch while there are keys: whoever needs those finds a thread that is free
)
MAX_KEYS = 100

PublicKey = RSAKey | ECKey | OKPKey
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "Ed25519": "Ed25519", "Ed448": "Ed448"}
# Asymmetric only. RFC 9864 names the EdDSA curves; "EdDSA" is what issuers still write.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"),
)


class Unavailable(Exception):
    """The issuer's keys can't be had now. The message names the cause."""


class UnknownKey(Exception):
    """No published key has this key id and fits this algorithm."""


def read_keys(document: bytes) -> tuple[PublicKey, ...]:
    """The usable public keys of a JWKS: RSA of 2048 to 8192 bits, EC and OKP, for signatures; the rest is left out.

    Raises `Unavailable` for a document that is no JWKS or in which no key is usable.
    """
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise Unavailable("its key set is no JSON") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise Unavailable(f"its key set has no list of at most {MAX_KEYS} keys")
    keys = tuple(key for entry in entries if isinstance(entry, dict) and (key := _read_key(entry)))
    if not keys:
        raise Unavailable("its key set has no usable key")
    return keys


def _read_key(entry: dict[str, Any]) -> PublicKey | None:
    operations = entry.get("key_ops", ["verify"])
    if entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if not isinstance(entry.get("kid", ""), str) or not isinstance(entry.get("alg", ""), str):
        return None
    # What makes a public key, and no more: certificates, URLs and private parts in a set are not used.
    public = ("kty", "kid", "alg", "n", "e", "crv", "x", "y")
    kept: dict[str, Any] = {name: entry[name] for name in public if name in entry}
    try:
        key = JWKRegistry.import_key(kept)
        if isinstance(key, RSAKey) and not 2048 <= key.raw_value.key_size <= 8192:
            return None
    except (JoseError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def select(keys: tuple[PublicKey, ...], kid: str | None, algorithm: str) -> PublicKey | None:
    """The key that a token names. Without a key id (RFC 7515 makes it optional) only a single fitting key will do."""
    fitting = [key for key in keys if _fits(key, algorithm) and (kid is None or key.get("kid") == kid)]
    if kid is None and len(fitting) != 1:
        return None
    return next(iter(fitting), None)


def _fits(key: PublicKey, algorithm: str) -> bool:
    stated = key.get("alg")
    eddsa = {"EdDSA", "Ed25519", "Ed448"}
    if stated and stated != algorithm and not {str(stated), algorithm} <= eddsa:
        return False
    if isinstance(key, RSAKey):
        return algorithm[:2] in ("RS", "PS")
    if isinstance(key, OKPKey):
        return key.curve_name in ("Ed25519", "Ed448") and algorithm in ("EdDSA", key.curve_name)
    return CURVES.get(algorithm) == key.curve_name


class KeySource:
    """The keys of one issuer. Thread-safe; blocks while it fetches, so it is called outside the event loop."""

    def __init__(self, fetch: Callable[[], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        """`fetch` returns a JWKS or raises `Unavailable`."""
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._waiters = threading.Semaphore(WAITERS)
        self._kept: tuple[tuple[PublicKey, ...], float] | None = None  # keys, when they were fetched
        self._tried = float("-inf")
        self._failure: str | None = None  # why the last try failed, if it did

    def find(self, kid: str | None, algorithm: str) -> PublicKey:
        """The key that verifies a token. Raises `UnknownKey` or `Unavailable`."""
        kept = self._kept
        key = select(kept[0], kid, algorithm) if kept else None
        if key and kept and self._clock() - kept[1] < TTL:
            return key
        self._refetch(kept, wait=key is None)
        kept = self._kept
        if kept is None or self._clock() - kept[1] >= STALE:
            raise Unavailable(self._failure or "they are being fetched")
        if key := select(kept[0], kid, algorithm):
            return key
        if self._failure:  # it may have published this one meanwhile
            raise Unavailable(self._failure)
        raise UnknownKey

    def _refetch(self, seen: object, *, wait: bool) -> None:
        """Fetch once for all threads; who already has a key that will do does not wait for it."""
        if not self._lock.acquire(blocking=wait and seen is None):
            if not wait:
                return
            if not self._waiters.acquire(blocking=False):
                raise Unavailable("they are being fetched")
            try:
                self._lock.acquire()
            finally:
                self._waiters.release()
        try:
            if self._kept is not seen or self._clock() - self._tried < FLOOR:
                return
            try:
                self._kept, self._failure = (read_keys(self._fetch()), self._clock()), None
            except Unavailable as error:
                self._failure = str(error)
            finally:
                self._tried = self._clock()
        finally:
            self._lock.release()
