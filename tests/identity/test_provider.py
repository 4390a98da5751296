"""Against a real OIDC provider: discovery, the authorization code flow, and the ID token that comes of it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from oidc_provider_mock import User, run_server_in_thread

from addons.identity.oidc import Issuer, Verifier
from addons.identity.refusal import Refused

CLIENT = "sluicegate"
REDIRECT = "https://agent.example.com/callback"


@pytest.fixture
def provider() -> Iterator[str]:
    users = [User(sub="agent/ada", claims={"groups": ["developers", "sre"]})]
    with run_server_in_thread(user_claims=users, access_token_max_age=timedelta(hours=1)) as server:
        yield f"http://localhost:{server.server_port}"


def id_token(provider: str, client: str = CLIENT) -> str:
    """Sign in as a person would, and exchange the code (OpenID Connect Core 3.1)."""
    http = urllib3.PoolManager()
    query = f"client_id={client}&redirect_uri={REDIRECT}&response_type=code&scope=openid&state=s"
    answer = http.request(
        "POST",
        f"{provider}/oauth2/authorize?{query}",
        fields={"sub": "agent/ada"},
        encode_multipart=False,
        redirect=False,
    )
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    found = http.request(
        "POST",
        f"{provider}/oauth2/token",
        fields={"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT},
        encode_multipart=False,
        headers=urllib3.make_headers(basic_auth=f"{client}:secret"),
    )
    return str(found.json()["id_token"])


def test_an_id_token_of_the_code_flow_signs_in(provider: str) -> None:
    verifier = Verifier([Issuer(provider, CLIENT)])
    found = verifier.verify(id_token(provider), now=time.time())
    assert (found.issuer, found.subject, found.groups) == (provider, "agent/ada", ("developers", "sre"))
    assert found.issued <= time.time() < found.expires


def test_an_id_token_for_another_client_does_not(provider: str) -> None:
    verifier = Verifier([Issuer(provider, CLIENT)])
    with pytest.raises(Refused, match="audience"):
        verifier.verify(id_token(provider, "another-client"), now=time.time())


def test_a_provider_that_is_not_configured_is_never_asked(provider: str) -> None:
    verifier = Verifier([Issuer("http://localhost:1", CLIENT)])
    with pytest.raises(Refused, match="issuer"):
        verifier.verify(id_token(provider), now=time.time())
