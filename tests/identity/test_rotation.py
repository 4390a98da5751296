"""A provider in another language, oauth2-mock-server on Node, whose keys rotate while we verify its tokens."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from addons.identity import jwks
from addons.identity.oidc import Issuer, Verifier
from addons.identity.refusal import Refused
from tests import tools
from tests.identity.conftest import Clock

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
CLAIMS = {"sub": "agent/ada", "aud": "sluicegate", "groups": ["developers"]}


class Provider:
    """The provider's process, and what it is told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.issuer: str = self._read()

    def _read(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def _ask(self, **asked: Any) -> str:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return str(self._read())

    def rotate(self, algorithm: str, kid: str) -> None:
        assert self._ask(generate=algorithm, kid=kid) == kid

    def token(self, kid: str, **claims: Any) -> str:
        return self._ask(token=CLAIMS | claims, kid=kid)


@pytest.fixture
def provider() -> Iterator[Provider]:
    node = tools.need(lambda: tools.node(tools.PROVIDER))
    command = [node.program, str(tools.PROVIDER / "provider.mjs"), str(node.modules)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Provider(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(20) == 0


def test_each_key_that_a_provider_rotates_to_is_found(provider: Provider, clock: Clock) -> None:
    verifier = Verifier([Issuer(provider.issuer, "sluicegate")], clock=clock)
    for algorithm in ("RS256", "RS512", "PS256", "ES256", "ES512", "EdDSA"):
        provider.rotate(algorithm, algorithm)
        text = provider.token(algorithm)
        if algorithm != "RS256":  # the keys that are kept do not have this one, and were fetched a moment ago
            with pytest.raises(Refused, match="no key of this key id"):
                verifier.verify(text, now=time.time())
        clock.time += jwks.FLOOR
        found = verifier.verify(text, now=time.time())
        assert (found.subject, found.groups) == ("agent/ada", ("developers",))
        assert verifier.verify(provider.token("RS256"), now=time.time()).subject == "agent/ada"


def test_an_access_token_of_the_client_credentials_grant_signs_in(provider: Provider) -> None:
    provider.rotate("RS256", "first")
    fields = {"grant_type": "client_credentials", "scope": "x"}
    url = f"{provider.issuer}/token"
    answer = urllib3.PoolManager().request("POST", url, fields=fields, encode_multipart=False)
    verifier = Verifier([Issuer(provider.issuer, "sluicegate")])
    assert verifier.verify(answer.json()["access_token"], now=time.time()).subject == "agent/ada"


@pytest.mark.parametrize("changed", [{"aud": "other"}, {"exp": 1}, {"iat": 4_000_000_000}, {"sub": ""}])
def test_its_tokens_that_do_not_hold_are_refused(provider: Provider, changed: dict[str, Any]) -> None:
    provider.rotate("ES256", "first")
    verifier = Verifier([Issuer(provider.issuer, "sluicegate")])
    assert verifier.verify(provider.token("first"), now=time.time()).subject == "agent/ada"
    with pytest.raises(Refused):
        verifier.verify(provider.token("first", **changed), now=time.time())
