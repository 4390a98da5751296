"""Where connections go: what a URL names, which hosts are tunnelled, and where a tunnel must not lead."""

import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import connection
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import tflow

from addons.callers import Callers
from addons.config import Duration, Tunnel, Upstream, Url
from addons.connect import Connect, Target, is_address
from addons.services import Services
from addons.state.stops import Stops


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("http://moto", ("moto", 80)),
        ("https://[::1]:4566", ("::1", 4566)),
        ("https://aws.internal", ("aws.internal", 443)),
    ],
)
def test_the_address_that_a_url_names(url: str, address: tuple[str, int]) -> None:
    assert Url.parse(url).address == address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "0x7f.1", "127.1", "2130706433", "0177.0.0.1"])
def test_addresses_are_told_from_names_in_every_form_that_resolvers_take(host: str) -> None:
    assert is_address(host)
    assert socket.getaddrinfo(host.strip("[]"), 443)  # the resolver's own word


@pytest.mark.parametrize("host", ["example.com", "1.example.com", "localhost", "0x7f.example", ""])
def test_names_are_no_addresses(host: str) -> None:
    assert not is_address(host)


def step(rule: object) -> Connect:
    """The step under a configuration with this for `other_hosts`."""

    async def event(*_: object, **__: object) -> None:
        return

    config = SimpleNamespace(other_hosts=rule, upstream=Upstream(connect_timeout=Duration(5)))
    rules = SimpleNamespace(gateway=SimpleNamespace(config=config))
    callers = Callers(cast(Any, None), cast(Any, SimpleNamespace(stops=Stops())), lambda: False)
    services = SimpleNamespace(rules=rules, ledger=SimpleNamespace(event=event), callers=callers)
    return Connect(cast(Services, services))


LIST = ["*.github.com", "api.example.com", "10.0.0.7"]


@pytest.mark.parametrize(
    ("rule", "host", "passes"),
    [
        ("deny", "api.example.com", False),
        (Tunnel(LIST), "api.example.com", True),
        (Tunnel(LIST), "API.EXAMPLE.COM", True),
        (Tunnel(LIST), "x.api.example.com", False),
        (Tunnel(LIST), "raw.github.com", True),
        (Tunnel(LIST), "github.com", False),
        (Tunnel(LIST), "evilgithub.com", False),
        (Tunnel(LIST), "10.0.0.7", True),
        (Tunnel(LIST), "1.1.1.1", False),
        (Tunnel("all"), "api.example.com", True),
        (Tunnel("all"), "1.1.1.1", False),
        (Tunnel("all"), "0x1010101", False),
        (Tunnel("all"), "111122223333.dkr.ecr.us-east-1.amazonaws.com", False),
    ],
)
async def test_what_other_hosts_lets_through(rule: object, host: str, passes: bool) -> None:
    flow = tflow.tflow()
    flow.request.data.host, flow.request.data.port, flow.live = host, 443, True
    flow.response = None
    await step(rule).http_connect(flow)
    assert (flow.response is None) is passes


@pytest.mark.parametrize("host", ["intranet", "all", "al"])
async def test_tunnel_all_leads_to_no_private_address_whatever_its_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    connect, client = step(Tunnel("all")), tflow.tclient_conn()
    connect.targets[client] = Target(host, 443, aws=False)
    data = ServerConnectionHookData(connection.Server(address=(host, 443)), client)
    await connect.server_connect(data)
    assert "not a public address" in str(data.server.error)
