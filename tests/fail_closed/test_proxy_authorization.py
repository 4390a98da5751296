"""`proxy_authorization: required`: no connection without a token, no call of another on it, no trace of it."""

import base64
import json
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ProxyConnectionError

from addons.identity.local import LocalIssuer
from tests import agent, harness
from tests.agent import Answer, Raw
from tests.fail_closed.conftest import Screen, Stand, until

pytestmark = pytest.mark.long  # many gateways

HOST = "dynamodb.us-east-1.amazonaws.com"


def token(directory: Path, subject: str = "agent/ada", **settings: Any) -> str:
    return LocalIssuer.open(directory / "state").token(subject, ["developers"], **settings)


def basic(password: str, user: str = "agent") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Caller(Raw):
    """A client that sends its token to the proxy."""

    password: str = ""

    def tunnel(self) -> ssl.SSLSocket:
        plain, answer = connect(self.gateway, [f"Proxy-Authorization: {basic(self.password)}"])
        assert b" 200 " in answer.partition(b"\r\n")[0], answer
        return ssl.create_default_context(cafile=self.gateway.ca).wrap_socket(plain, server_hostname=self.host)


def connect(gateway: harness.Gateway, headers: list[str], place: str = f"{HOST}:443") -> tuple[socket.socket, bytes]:
    """CONNECT with these header lines; the connection and the answer's head."""
    plain = socket.create_connection(gateway.proxy_address, timeout=10)
    lines = "".join(f"{line}\r\n" for line in headers)
    plain.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{lines}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = plain.recv(65536)
        if not more:
            break
        answer += more
    return plain, answer


def keys(gateway: harness.Gateway, given: str) -> tuple[str, str, str]:
    """Sign in with boto3, which sends the token of the proxy's URL on CONNECT."""
    proxy = gateway.proxy.replace("http://", f"http://agent:{given}@")
    settings = Config(proxies={"https": proxy}, signature_version="unsigned", retries={"total_max_attempts": 1})
    sts = boto3.client(
        "sts",
        region_name="us-east-1",
        aws_access_key_id="",
        aws_secret_access_key="",
        verify=gateway.ca,
        config=settings,
    )
    found = sts.assume_role_with_web_identity(
        RoleArn=harness.ROLE, RoleSessionName="test", WebIdentityToken=gateway.token_file().read_text()
    )["Credentials"]
    return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    directory, upstream = tmp_path_factory.mktemp("gateway"), harness.Upstream()
    identity = "{local: true, proxy_authorization: required}"
    with harness.gateway(directory, upstream.url, identity=identity, other_hosts="{tunnel: [localhost]}") as made:
        yield Stand(made, upstream, keys(made, token(directory)))
    upstream.close()


def caller(stand: Stand, password: str) -> Caller:
    made = Caller(stand.gateway, keys=stand.keys)
    made.password = password
    return made


def refusal(found: Answer) -> str:
    assert found.status == 403, found
    return str(json.loads(found.body)["message"])


def test_the_owner_of_the_token_calls(stand: Stand) -> None:
    seen = len(stand.upstream.seen)
    found = caller(stand, token(stand.gateway.directory)).call()
    assert found.status == 200, found
    assert len(stand.upstream.seen) == seen + 1
    assert "proxy-authorization" not in stand.upstream.seen[-1].headers


def forged(directory: Path) -> str:
    """A token that another key has signed in this issuer's name."""
    ours, theirs = LocalIssuer.open(directory / "state"), LocalIssuer.open(directory / "another-state")
    theirs.name, theirs.key_id = ours.name, ours.key_id
    return theirs.token("agent/ada", ["developers"])


@pytest.mark.parametrize(
    "headers",
    [
        lambda d: [],
        lambda d: ["Proxy-Authorization: "],
        lambda d: ["Proxy-Authorization: Basic !!!"],
        lambda d: ["Proxy-Authorization: Basic " + base64.b64encode(b"no colon").decode()],
        lambda d: [f"Proxy-Authorization: {basic('')}"],
        lambda d: [f"Proxy-Authorization: {basic('a.b.c')}"],
        lambda d: [f"Proxy-Authorization: Bearer {token(d)}"],
        lambda d: [f"Proxy-Authorization: {basic('agent', token(d))}"],
        lambda d: [f"Proxy-Authorization: {basic(token(d, now=1_000_000_000))}"],
        lambda d: [f"Proxy-Authorization: {basic(forged(d))}"],
        lambda d: [f"Proxy-Authorization: {basic(token(d))}"] * 2,
        lambda d: [f"Authorization: {basic(token(d))}"],
    ],
    ids=[
        *("none", "empty", "no base64", "no password", "empty password", "no token", "bearer", "as the user"),
        *("expired", "another's key", "twice", "in another header"),
    ],
)
@pytest.mark.parametrize("place", [f"{HOST}:443", "localhost:443"], ids=["aws", "tunnel"])
def test_there_is_no_connection_without_a_good_token(stand: Stand, headers: object, place: str) -> None:
    with stand.nothing_passes():
        plain, answer = connect(stand.gateway, headers(stand.gateway.directory), place)  # type: ignore[operator]
        plain.close()
    assert answer.startswith(b"HTTP/1.1 407 "), answer
    assert b'proxy-authenticate: Basic realm="sluicegate"' in answer.lower().replace(b"basic", b"Basic")
    last = [line for line in stand.records() if line["eventName"] == "connect-refused"][-1]
    assert last["additionalEventData"]["sluicegate"]["detail"]["host"] == place.rpartition(":")[0]


def test_boto3_without_a_token_is_told_that_the_proxy_refuses(stand: Stand) -> None:
    with stand.nothing_passes(), pytest.raises(ProxyConnectionError):
        agent.sign_in(stand.gateway)


def test_keys_that_were_carried_off_are_worth_nothing_to_another(stand: Stand) -> None:
    with stand.nothing_passes():
        text = refusal(caller(stand, token(stand.gateway.directory, "agent/mallory")).call())
    assert "opened by another than agent/ada" in text


def test_nor_does_a_token_of_another_sign_in_on_the_connection(stand: Stand) -> None:
    with pytest.raises(Exception, match="opened by another"), stand.nothing_passes():
        keys(stand.gateway, token(stand.gateway.directory, "agent/mallory"))


def test_the_token_stands_in_no_log_view_or_recording(stand: Stand) -> None:
    given = token(stand.gateway.directory, "agent/canary")
    connect(stand.gateway, [f"Proxy-Authorization: {basic(given)}"])[0].close()
    bad = given[:-9] + "AAAAAAAAA"
    connect(stand.gateway, [f"Proxy-Authorization: {basic(bad)}"])[0].close()
    refusal(caller(stand, given).call())
    # In plain HTTP, and inside the tunnel, where no proxy reads it.
    request = urllib.request.Request("http://example.com/", headers={"Proxy-Authorization": basic(given)})
    request.set_proxy("{}:{}".format(*stand.gateway.proxy_address), "http")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=10)
    good = caller(stand, token(stand.gateway.directory))
    signed = good.signed("POST", "/", agent.JSON | {"x-amz-target": "DynamoDB_20120810.ListTables"}, b"{}")
    assert good.send("POST", "/", [*signed, ("Proxy-Authorization", basic(given))], b"{}").status == 200
    until(lambda: stand.last_call()["eventName"] == "ListTables", "the line")
    screen = Screen(stand.gateway)
    flows = screen.flows()
    shown = json.dumps(flows) + "".join(
        screen.request("GET", f"flows/{flow['id']}/request/content/Auto.json").body.decode() for flow in flows
    )
    files = [path for path in stand.gateway.directory.rglob("*") if path.is_file()]
    assert any(path.suffix == ".mitm" for path in files)
    for needle in (given, bad, basic(given), basic(bad), given.partition(".")[2]):
        assert needle not in shown
        for path in files:
            assert needle.encode() not in path.read_bytes(), path


def test_the_credential_helper_sends_the_token_of_the_proxys_url(stand: Stand) -> None:
    given, gateway = token(stand.gateway.directory), stand.gateway
    options = ["--role", harness.ROLE, "--ca", gateway.ca, "--token-file", str(gateway.token_file())]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(gateway.directory / "cache"))
        proxy = gateway.proxy.replace("http://", f"http://agent:{given}@")
        ran = gateway.cli("credentials", "process", *options, "--proxy", proxy)
        assert json.loads(ran.stdout)["AccessKeyId"].startswith("ASIA")
        patch.setenv("XDG_CACHE_HOME", str(gateway.directory / "another-cache"))
        ran = gateway.cli("credentials", "process", *options, "--proxy", gateway.proxy, check=False)
        assert (ran.returncode, "can't be reached" in ran.stderr) == (1, True)


def test_run_says_that_it_does_not_go_with_it(stand: Stand) -> None:
    ran = stand.gateway.cli("run", "--config", str(stand.gateway.config), "--", "true", check=False)
    assert (ran.returncode, "does not go with `proxy_authorization: required`" in ran.stderr) == (1, True)


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    upstream = harness.Upstream()
    with harness.gateway(tmp_path, upstream.url, identity="{local: true, proxy_authorization: off}") as made:
        stand = Stand(made, upstream, agent.sign_in(made))
        assert stand.call().status == 200
        assert caller(stand, "whatever").call().status == 200
    upstream.close()
