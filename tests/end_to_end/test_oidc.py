"""An agent of a company's own OIDC provider: discovery and keys are fetched over HTTP, its groups decide."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from oidc_provider_mock import User, run_server_in_thread

from tests.end_to_end import agents
from tests.end_to_end.agents import Answer
from tests.harness import ROLE, Gateway, Upstream, gateway

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
REDIRECT = "https://agent.example.com/callback"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    users = [User(sub="agent/ada", claims={"groups": ["developers"]}), User(sub="agent/mallory")]
    with run_server_in_thread(user_claims=users, access_token_max_age=timedelta(hours=1)) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def gate(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    upstream = Upstream()
    identity = f"{{issuers: [{{issuer: '{provider}', audience: sluicegate}}]}}"
    with gateway(tmp_path_factory.mktemp("oidc"), upstream.url, identity=identity) as made:
        yield made
    upstream.close()


def id_token(provider: str, client: str = "sluicegate", subject: str = "agent/ada") -> str:
    """Sign in as a person would, by the authorization code flow (OpenID Connect Core 3.1)."""
    asked = {"client_id": client, "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid", "state": "s"}
    page = requests.post(
        f"{provider}/oauth2/authorize", params=asked, data={"sub": subject}, allow_redirects=False, timeout=20
    )
    code = parse_qs(urlsplit(page.headers["location"]).query)["code"][0]
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    found = requests.post(f"{provider}/oauth2/token", data=given, auth=(client, "secret"), timeout=20)
    return str(found.json()["id_token"])


def call(gate: Gateway, token: str, directory: Path) -> Answer:
    """One call by an agent that has this token in its file."""
    gate.token_file().write_text(token)
    with agents.agent("boto3", gate, directory) as made:
        return made.call("dynamodb", "ListTables")


def test_the_providers_token_signs_boto3_in(gate: Gateway, provider: str, tmp_path: Path) -> None:
    answer = call(gate, id_token(provider), tmp_path)
    assert answer.ok, answer
    line = gate.calls()[-1]
    session = line["userIdentity"]["sessionContext"]
    assert session["sessionIssuer"]["arn"] == ROLE
    assert (session["sourceIdentity"], session["webIdFederationData"]["federatedProvider"]) == ("agent/ada", provider)
    assert line["additionalEventData"]["sluicegate"]["groups"] == ["developers"]


@pytest.mark.parametrize(
    ("client", "subject", "code"),
    [("another-client", "agent/ada", "InvalidIdentityToken"), ("sluicegate", "agent/mallory", "AccessDenied")],
    ids=["a token for another audience", "a subject without the role's group"],
)
def test_other_tokens_do_not(
    gate: Gateway, provider: str, tmp_path: Path, client: str, subject: str, code: str
) -> None:
    before = len(gate.calls())
    answer = call(gate, id_token(provider, client, subject), tmp_path)
    assert (answer.ok, answer.code) == (False, code), answer
    assert "sluicegate" in answer.message
    (line,) = gate.calls()[before:]
    assert (line["eventName"], line["errorCode"]) == ("AssumeRoleWithWebIdentity", code)
