"""A tunnel that is asked for in disguise, and names that are meant to keep the gateway waiting."""

import asyncio
import ipaddress
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import connection
from mitmproxy.proxy import server_hooks
from mitmproxy.test import tflow

from addons import connect
from addons.config import Tunnel, Upstream
from addons.connect import Connect, Target, is_address


class Ledger:
    async def event(self, kind: str, **_: object) -> None: ...


@pytest.fixture
def step() -> Connect:
    config = SimpleNamespace(other_hosts=Tunnel("all"), upstream=Upstream())
    gateway = SimpleNamespace(gateway=SimpleNamespace(config=config))
    made = Connect(cast(Any, SimpleNamespace(rules=gateway, ledger=Ledger())))
    made.own_ports.add(8080)
    return made


@pytest.mark.parametrize(
    "place",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",  # RFC 4291 2.5.5.1
        "64:ff9b::7f00:1",  # RFC 6052: NAT64 leads to 127.0.0.1
        "64:ff9b::a9fe:a9fe",  # and to 169.254.169.254
        "64:ff9b::a00:1",
        "2002:7f00:1::",  # RFC 3056
        "fec0::1",  # RFC 3879
        "fe80::1",
        "fd00:ec2::254",  # EC2's metadata
        "100.64.0.1",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_the_internets_is_refused_in_every_form(step: Connect, place: str) -> None:
    target = Target("name.example", 443, aws=False)
    assert step._off_limits(target, "name.example", 443, ipaddress.ip_address(place))


@pytest.mark.parametrize(
    "place", ["93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::5db8:d70e", "::ffff:93.184.215.14"]
)
def test_a_public_address_is_let_through(step: Connect, place: str) -> None:
    assert (
        step._off_limits(Target("name.example", 443, False), "name.example", 443, ipaddress.ip_address(place)) is None
    )


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("52.94.5.1", True),
        ("0x345e0501", True),
        ("878576897", True),
        ("52.6161665", True),
        ("064.0136.5.1", True),
        ("::ffff:52.94.5.1", True),
        ("example.com", False),
        ("1.example.com", False),
        ("cafe", False),
    ],
)
def test_an_address_of_awss_needs_to_be_named_in_whatever_form_it_is_written(
    step: Connect, host: str, address: bool
) -> None:
    assert is_address(host) is address
    assert step._tunnelled(host) is not address


def asked(step: Connect, host: str, aws: bool) -> server_hooks.ServerConnectionHookData:
    client = tflow.tclient_conn()
    step.targets[client] = Target(host, 443, aws)
    return server_hooks.ServerConnectionHookData(connection.Server(address=(host, 443)), client)


async def test_names_that_never_resolve_keep_no_other_waiting(step: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tunnel: all`, and a domain whose name servers do not answer: the threads that wait for it are its own."""
    release = threading.Event()

    def slow(host: str, port: int, *_: object, **__: object) -> list[Any]:
        if host.endswith(".tarpit.example"):
            release.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    stuck = [
        asyncio.ensure_future(step.server_connect(asked(step, f"{n}.tarpit.example", aws=False))) for n in range(100)
    ]
    try:
        await asyncio.sleep(0.1)
        started = time.monotonic()
        data = asked(step, "dynamodb.us-east-1.amazonaws.com", aws=True)
        await asyncio.wait_for(step.server_connect(data), 5)
        assert data.server.error is None
        assert await asyncio.to_thread(lambda: True), "nor the threads for everything else"
        assert time.monotonic() - started < 2
    finally:
        for task in stuck:
            task.cancel()
        release.set()


async def test_what_was_checked_is_what_a_tunnel_leads_to(step: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name leads elsewhere the next time that it is asked for."""
    answers = iter(["93.184.215.14", "169.254.169.254"])

    def once(host: str, port: int, *_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", once)
    data = asked(step, "rebind.example", aws=False)
    await step.server_connect(data)
    assert data.server.error is None
    assert data.server.address == ("93.184.215.14", 443)
    again = asked(step, "rebind.example", aws=False)
    await step.server_connect(again)
    assert "not a public address" in str(again.server.error)


assert connect.RESOLVING < 100
