"""Verifying OIDC tokens: the agent's proof of who it is.

A token is accepted if a configured issuer signed it (asymmetric algorithms only, keys found by discovery: OpenID
Connect Discovery 1.0), it is meant for this gateway (`aud`), and it is in force. Everything in it is untrusted until
its signature holds; even then it names only a subject and groups. The pitfalls of joserfc and authlib that shape this
file: `algorithms=[]` means the defaults, HS256 among them; `jwt.decode` checks no claim; an `aud` option that says
only "essential" accepts any audience.

Decided here: of several audiences one must be ours and `azp` must say so too; a single audience must be ours,
whatever `azp` says (for access tokens it names the client). No groups claim: no groups. Duplicate JSON keys: the last
one counts, as the issuer signed it. Clocks may differ by `LEEWAY`.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from authlib.oidc.core import IDToken
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from joserfc import jws
from joserfc.errors import ExpiredTokenError, JoseError, SecurityWarning
from joserfc.util import urlsafe_b64decode

from addons.identity import fetch, jwks
from addons.identity.groups import Rule, groups_of, named_claims
from addons.identity.refusal import Refused
from addons.identity.urls import is_acceptable

LEEWAY = 30  # seconds
MAX_TOKEN = 20_000  # characters; what STS takes for WebIdentityToken
MAX_NAME = 512  # characters of a subject, group, sid or jti
REFUSED_HEADERS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64"})  # keys and rules that a token brings along
# RFC 8725 3.11: a token made for something else, such as a logout token, is no sign-in.
TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})

# joserfc warns of short keys, which are refused here, and of the name "EdDSA", which issuers still write (RFC 9864).
warnings.filterwarnings("ignore", category=SecurityWarning)


class _Registry(jws.JWSRegistry):
    max_header_length = 2048


_REGISTRY = _Registry(algorithms=list(jwks.ALGORITHMS), strict_check_header=False)


@dataclass(frozen=True, slots=True)
class Issuer:
    """One OIDC provider. `keys`: its JWKS where it is fixed, as the built-in issuer's; then nothing is fetched."""

    issuer: str  # exactly as tokens say it
    audience: str
    groups_claim: str | None = "groups"
    groups_from: tuple[Rule, ...] = ()
    jwks_uri: str | None = None  # where its keys are, whatever discovery says; it may be another origin
    ca_bundle: Path | None = None  # whose certificates it has, where that is not the verifier's
    keys: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    issuer: str
    audience: str
    subject: str
    groups: tuple[str, ...]
    named: Mapping[str, Any] = field(repr=False)  # the claims that the groups come from
    token_id: str  # jti, or a hash of the token where it has none
    sid: str | None
    issued: int  # seconds since the epoch
    expires: int


class Verifier:
    """Verifies tokens of the configured issuers. Thread-safe; may block for a fetch, so not for the event loop."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        *,
        ca_bundle: Path | None = None,
        proxy: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ca_bundle` replaces the system's roots. Raises ValueError for an issuer that can't be used."""
        self._ca_bundle, self._proxy, self._clock = ca_bundle, proxy, clock
        self._issuers: dict[str, tuple[Issuer, jwks.KeySource]] = {}
        self.configure(issuers)

    def configure(self, issuers: Sequence[Issuer]) -> None:
        """Replace the issuers. Keys are kept for those that have them from where they had them: a reload fetches none.

        Raises ValueError for an issuer that can't be used; then nothing is replaced.
        """
        found: dict[str, tuple[Issuer, jwks.KeySource]] = {}
        for issuer in issuers:
            if issuer.issuer in found:
                raise ValueError(f"the issuer {issuer.issuer} is named twice")
            if not issuer.audience:
                raise ValueError(f"the issuer {issuer.issuer} has no audience")
            if not is_acceptable(issuer.issuer) or {"?", "#"} & set(issuer.issuer):
                raise ValueError(f"the issuer {issuer.issuer} must be an https URL (or http on loopback)")
            if issuer.jwks_uri and not is_acceptable(issuer.jwks_uri):
                raise ValueError(f"the keys of {issuer.issuer} must be at an https URL (or http on loopback)")
            before = self._issuers.get(issuer.issuer)
            source = before[1] if before and _place(before[0]) == _place(issuer) else self._key_source(issuer)
            found[issuer.issuer] = issuer, source
        self._issuers = found

    def _key_source(self, issuer: Issuer) -> jwks.KeySource:
        if issuer.keys is not None:
            return jwks.KeySource(_fixed(issuer.keys), self._clock)
        place = _Place(issuer, issuer.ca_bundle or self._ca_bundle, self._proxy)
        return jwks.KeySource(place.key_set, self._clock)

    def issuer_of(self, token: str) -> str:
        """The configured issuer that a token claims to be of; nothing is verified. Raises `Refused`."""
        named = _unverified(token)[1].get("iss")
        if not isinstance(named, str) or named not in self._issuers:
            raise _invalid("its issuer is not one of this gateway's")
        return named

    def groups(self, issuer: str, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """The groups that claims of a verified token (`Claims.named`) give as the issuers are configured now.

        Raises `Refused` where the issuer is no longer one of them.
        """
        if (found := self._issuers.get(issuer)) is None:
            raise Refused("AccessDenied", f"{issuer}, which signed this session in, is no longer an issuer here.")
        return groups_of(claims, found[0].groups_claim, found[0].groups_from)

    def verify(self, token: str, *, now: float) -> Claims:
        """What a token says, if it is good. `now`: seconds since the epoch.

        Raises `Refused`: InvalidIdentityToken, ExpiredTokenException, or IDPCommunicationError if keys can't be had.
        """
        header, claims = _unverified(token)
        named = claims.get("iss")
        if not isinstance(named, str) or (known := self._issuers.get(named)) is None:
            raise _invalid("its issuer is not one of this gateway's")
        issuer, source = known
        algorithm, kid = _checked_header(header)
        try:
            key = source.find(kid, algorithm)
            signed = jws.deserialize_compact(token, key, registry=_REGISTRY)
        except jwks.UnknownKey:
            raise _invalid("its issuer publishes no key of this key id for this algorithm") from None
        except jwks.Unavailable as error:
            raise Refused("IDPCommunicationError", f"the keys of {issuer.issuer} can't be had: {error}.") from None
        except (JoseError, ValueError, TypeError):
            raise _invalid("its signature does not verify") from None
        return _checked_claims(_json_object(signed.payload), header, issuer, token, now)


def published_keys(issuer: Issuer, *, ca_bundle: Path | None = None, proxy: str | None = None) -> int:
    """How many keys an issuer publishes that we can use. Blocks. Raises `jwks.Unavailable`."""
    return len(jwks.read_keys(_Place(issuer, issuer.ca_bundle or ca_bundle, proxy).key_set()))


def _invalid(reason: str) -> Refused:
    return Refused("InvalidIdentityToken", f"the web identity token is refused: {reason}.")


def _json_object(text: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)  # NaN and Infinity are no JSON, and compare as no date does

    try:
        found = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise _invalid("it is no JSON Web Token") from None
    if not isinstance(found, dict):
        raise _invalid("it is no JSON Web Token")
    return found


def _unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that nobody has verified: good for choosing an issuer, for nothing else."""
    if len(token) > MAX_TOKEN:
        raise _invalid(f"it is longer than {MAX_TOKEN} characters")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise _invalid("it is no signed JSON Web Token in compact form")
    try:
        header, payload = (urlsafe_b64decode(part.encode()) for part in parts[:2])
    except ValueError:
        raise _invalid("it is no signed JSON Web Token in compact form") from None
    return _json_object(header), _json_object(payload)


def _checked_header(header: dict[str, Any]) -> tuple[str, str | None]:
    """Algorithm and key id, if the header asks for nothing that we don't do."""
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in jwks.ALGORITHMS:
        raise _invalid("its algorithm is not one of " + ", ".join(jwks.ALGORITHMS))
    if brought := REFUSED_HEADERS & header.keys():
        raise _invalid(f"its header has {', '.join(sorted(brought))}")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise _invalid("its type is neither JWT nor at+jwt")
    if kid is not None and not isinstance(kid, str):
        raise _invalid("its key id is no string")
    return algorithm, kid


def _checked_claims(claims: dict[str, Any], header: dict[str, Any], issuer: Issuer, token: str, now: float) -> Claims:
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0 if name == "nbf" else None)
        # bool is an int to Python; 1e11 is the year 5138.
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value < 1e11):
            raise _invalid(f"its {name} is missing or no date")
    if not _is_for(claims, issuer.audience):
        raise _invalid(f"it is not for the audience {issuer.audience}")
    options = {"iss": {"essential": True, "value": issuer.issuer}, "sub": {"essential": True}}
    try:
        IDToken(claims, header, options).validate(now=int(now), leeway=LEEWAY)
    except ExpiredTokenError:
        raise Refused("ExpiredTokenException", "the web identity token has expired: get a new one.") from None
    except (JoseError, ValueError, TypeError) as error:
        raise _invalid(getattr(error, "description", None) or "a claim does not hold") from None
    if "events" in claims:
        raise _invalid("it is a security event or logout token")
    if issuer.groups_claim:
        _check_groups(claims.get(issuer.groups_claim, []), issuer.groups_claim)
    named = named_claims(claims, issuer.groups_claim, issuer.groups_from)
    return Claims(
        issuer=issuer.issuer,
        audience=issuer.audience,
        subject=_name(claims, "sub") or "",
        groups=groups_of(named, issuer.groups_claim, issuer.groups_from),
        named=named,
        token_id=_name(claims, "jti") or "sha256:" + hashlib.sha256(token.encode()).hexdigest()[:32],
        sid=_name(claims, "sid"),
        issued=int(claims["iat"]),
        expires=int(claims["exp"]),
    )


def _is_for(claims: dict[str, Any], audience: str) -> bool:
    """OpenID Connect Core 3.1.3.7, rules 3 to 5."""
    stated = claims.get("aud")
    if isinstance(stated, list) and len(stated) > 1:
        return audience in stated and all(isinstance(one, str) for one in stated) and claims.get("azp") == audience
    return stated in (audience, [audience])


def _name(claims: dict[str, Any], claim: str) -> str | None:
    """A claim that names somebody or something: printable text, or absent."""
    if claim not in claims:
        return None
    return _printable(claims[claim], claim)


def _printable(value: object, claim: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME or not value.isprintable():
        raise _invalid(f"its {claim} is not 1 to {MAX_NAME} printable characters")
    return value


def _check_groups(value: object, claim: str) -> None:
    if not isinstance(value, list):
        raise _invalid(f"its {claim} is no list of names")
    for group in value:
        _printable(group, claim)


def _fixed(keys: Mapping[str, Any]) -> Callable[[], bytes]:
    document = json.dumps(dict(keys)).encode()
    jwks.read_keys(document)
    return lambda: document


def _place(issuer: Issuer) -> tuple[object, ...]:
    """Where an issuer's keys come from."""
    return issuer.issuer, issuer.jwks_uri, issuer.ca_bundle, issuer.keys


class _Place:
    """Where an issuer's keys are: as configured, or as it says. Called under its key source's lock."""

    def __init__(self, issuer: Issuer, ca_bundle: Path | None, proxy: str | None) -> None:
        self._issuer = issuer.issuer
        self._configured = issuer.jwks_uri
        self._settings: dict[str, Any] = {"ca_bundle": ca_bundle, "proxy": proxy}
        self._discovered: str | None = None

    def key_set(self) -> bytes:
        """The issuer's JWKS as bytes. Raises `jwks.Unavailable`."""
        try:
            if self._configured is None and self._discovered is None:
                self._discovered = self._discover()
            return fetch.get(self._configured or self._discovered or "", **self._settings)
        except fetch.FetchFailed as error:
            self._discovered = None  # it may have moved: ask again next time
            raise jwks.Unavailable(str(error)) from None

    def _discover(self) -> str:
        body = fetch.get(get_well_known_url(self._issuer, external=True), **self._settings)
        try:
            found = json.loads(body)
            metadata = OpenIDProviderMetadata(found if isinstance(found, dict) else {})
            # Not validate(): Kubernetes and GitHub publish no authorization endpoint.
            metadata.validate_issuer()
            metadata.validate_jwks_uri()
            uri = metadata["jwks_uri"]
            same_origin = isinstance(uri, str) and _origin(uri) == _origin(self._issuer)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise fetch.FetchFailed("its discovery document is not valid") from None
        if metadata["issuer"] != self._issuer:
            raise fetch.FetchFailed("its discovery document names another issuer")
        if not same_origin:
            raise fetch.FetchFailed("its keys are on another origin: if that is right, say so by jwks_uri")
        return str(uri)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
