"""Signing a person in on a machine without a browser: OAuth 2.0's device authorization grant (RFC 8628).

The person opens a page anywhere, enters a short code and signs in there; meanwhile we ask the provider for the token.
What comes is OpenID Connect's ID token. It is not verified here: it came from the provider itself over TLS (OpenID
Connect Core 3.1.3.7, rule 6), and the gateway verifies it.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from authlib.oidc.discovery import get_well_known_url

from addons.identity import fetch
from addons.identity.urls import is_acceptable
from addons.text import one_line

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER = 5  # seconds that `slow_down` adds (RFC 8628, 3.5)
PATIENCE = 600.0  # seconds for a person to sign in, whatever the provider grants
TIMEOUT = 10.0
MAX_BYTES = 1_000_000
RETRIES = 5  # of a poll that fails on the network, waiting twice as long each time


class SignInFailed(Exception):
    """Nobody was signed in. The message says why and what to do, and holds no token."""


class OAuthError(SignInFailed):
    """The provider's own error (RFC 6749, 5.2; RFC 8628, 3.5)."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"the provider refuses: {one_line(code, 60)}. {one_line(description, 300)}".rstrip())
        self.code = code


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a provider gives."""

    id_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked to do."""

    uri: str
    user_code: str
    complete: str | None  # the page with the code in it


@dataclass(frozen=True, slots=True)
class Client:
    """We, as a provider knows us: a public client, with no secret."""

    issuer: str
    client_id: str
    scope: str
    ca: Path | None = None  # trusted for the provider, instead of the system's roots

    def sign_in(self, ask: Callable[[Question], None], sleep: Callable[[float], None] = time.sleep) -> Tokens:
        """Have a person sign in: `ask` shows the question. Blocks until it is answered. Raises `SignInFailed`."""
        endpoints = self._endpoints("device_authorization_endpoint", "token_endpoint")
        begun = self._post(endpoints[0], {"client_id": self.client_id, "scope": self.scope})
        code, interval = _text(begun, "device_code"), _seconds(begun.get("interval", 5), 5)
        ends = time.monotonic() + min(_seconds(begun.get("expires_in"), PATIENCE), PATIENCE)
        complete = begun.get("verification_uri_complete")
        question = Question(
            _page(_text(begun, "verification_uri")),
            one_line(_text(begun, "user_code"), 60),
            _page(complete) if isinstance(complete, str) else None,
        )
        ask(question)
        asked = {"grant_type": GRANT, "device_code": code, "client_id": self.client_id}
        failures = 0
        while time.monotonic() < ends:
            sleep(interval)
            try:
                return _tokens(self._post(endpoints[1], asked))
            except OAuthError as error:
                if error.code == "slow_down":
                    interval += SLOWER
                elif error.code != "authorization_pending":
                    raise _explained(error) from None
            except fetch.FetchFailed as error:  # "exponential backoff" (RFC 8628, 3.5)
                failures += 1
                interval *= 2
                if failures > RETRIES:
                    raise SignInFailed(f"{self.issuer} can't be asked: {error}") from None
        raise SignInFailed("nobody signed in in time: try again")

    def refresh(self, refresh_token: str) -> Tokens:
        """New tokens without a person (RFC 6749, 6). Raises `SignInFailed`."""
        (endpoint,) = self._endpoints("token_endpoint")
        asked = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": self.client_id}
        found = _tokens(self._post(endpoint, asked | {"scope": self.scope}))
        return Tokens(found.id_token, found.refresh_token or refresh_token)

    def _endpoints(self, *names: str) -> list[str]:
        try:
            metadata = json.loads(fetch.get(get_well_known_url(self.issuer, external=True), ca_bundle=self.ca))
        except fetch.FetchFailed as error:
            raise SignInFailed(f"{self.issuer} does not say how to sign in: {error}") from None
        except (ValueError, RecursionError):
            metadata = None
        if not isinstance(metadata, dict) or metadata.get("issuer") != self.issuer:
            raise SignInFailed(f"what {self.issuer} says of itself is not valid: is the issuer written exactly?")
        found = [metadata.get(name) for name in names]
        for name, url in zip(names, found, strict=True):
            if not isinstance(url, str) or not is_acceptable(url):
                raise SignInFailed(f"{self.issuer} has no {name}: does it offer the device authorization grant?")
        return [str(url) for url in found]

    def _post(self, url: str, form: dict[str, str]) -> dict[str, Any]:
        """The JSON of a 200 answer. Raises `OAuthError`, and `FetchFailed` where there is no answer to speak of."""
        settings: dict[str, Any] = {"ca_certs": str(self.ca)} if self.ca else {}
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        try:
            with urllib3.PoolManager(cert_reqs="CERT_REQUIRED", timeout=TIMEOUT, **settings) as manager:
                answer = manager.request(
                    "POST",
                    url,
                    body=urlencode(form),
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )
                body = answer.read(MAX_BYTES)
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise fetch.FetchFailed(f"the exchange failed ({type(error).__name__})") from None
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise fetch.FetchFailed(f"it answers HTTP {answer.status}, and no JSON")
        if answer.status != 200:
            raise OAuthError(str(found.get("error", f"HTTP {answer.status}")), str(found.get("error_description", "")))
        return found


def _explained(error: OAuthError) -> SignInFailed:
    match error.code:
        case "access_denied":
            return SignInFailed("the sign-in was refused on the provider's page")
        case "expired_token":
            return SignInFailed("nobody signed in in time: try again")
        case _:
            return error


def _tokens(found: dict[str, Any]) -> Tokens:
    refresh = found.get("refresh_token")
    return Tokens(_text(found, "id_token"), refresh if isinstance(refresh, str) else None)


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        hint = ": is `openid` in --scope?" if name == "id_token" else ""
        raise SignInFailed(f"the provider's answer has no {name}{hint}")
    return value


def _page(uri: str) -> str:
    if not uri.startswith(("https://", "http://")):
        raise SignInFailed("the provider names no page to sign in on")
    return one_line(uri, 2_000)


def _seconds(value: object, default: float) -> float:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
    return float(value) if sound and isinstance(value, int | float) else default
