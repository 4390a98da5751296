"""The gateway's own credentials, from botocore's chain, against an STS on loopback."""

import asyncio
import logging
import ssl
import time
from pathlib import Path

import pytest

from addons.identity import renewing
from addons.identity.session import Keys
from addons.identity.upstream import Identity, Upstream, UpstreamUnavailable
from tests.identity.idp import certificate
from tests.identity.sts import SECRET, Sts, gap, upstream

pytestmark = pytest.mark.usefixtures("aws")


async def test_twenty_callers_share_one_renewal_and_the_loop_goes_on(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    sts.delay = 1.0
    gate, stop = upstream(), asyncio.Event()
    threads, load = [0], gate._load
    monkeypatch.setattr(gate._own, "_load", lambda: (threads.append(1), load())[1])
    measured = asyncio.create_task(gap(stop))
    found = await asyncio.gather(*(gate.credentials() for _ in range(20)))
    stop.set()
    assert sum(threads) == 1  # twenty would take every thread of the pool
    assert sts.calls == ["AssumeRole"]
    assert set(found) == {Keys("ASIAROLE000000000001", SECRET, "token-1")}
    assert await measured < 0.8  # a call on the loop would stop it for the STS's second


async def test_credentials_at_hand_cost_microseconds_and_no_call(sts: Sts) -> None:
    gate = upstream()
    await gate.credentials()
    started = time.perf_counter()
    for _ in range(1000):
        await gate.credentials()
    assert (time.perf_counter() - started) / 1000 < 0.0002  # about 0.2 us; botocore's own look at the clock is 10 to 50
    assert sts.calls == ["AssumeRole"]


async def renewed(gate: Upstream) -> None:
    """Until the renewal in the background has ended, well or not."""
    if flight := gate._own.flight:
        await asyncio.wait([flight], timeout=5)
    await asyncio.sleep(0)


async def test_they_are_renewed_in_the_background_long_before_they_end(sts: Sts) -> None:
    sts.lifetime = 14 * 60
    gate = upstream()
    first = await gate.credentials()
    sts.lifetime, sts.delay = 3600, 0.6
    started = time.perf_counter()
    assert await gate.credentials() == first
    assert time.perf_counter() - started < 0.5
    await renewed(gate)
    assert (await gate.credentials()).access_key == "ASIAROLE000000000002"
    assert sts.calls == ["AssumeRole"] * 2


async def test_short_lived_credentials_do_not_cost_a_renewal_per_call(sts: Sts) -> None:
    sts.lifetime = 5 * 60
    gate = upstream()
    for _ in range(50):
        await gate.credentials()
        await asyncio.sleep(0.002)
    assert sts.calls.count("AssumeRole") <= 2


async def test_a_failed_renewal_keeps_what_still_holds(sts: Sts, caplog: pytest.LogCaptureFixture) -> None:
    sts.lifetime = 5 * 60
    gate = upstream()
    first = await gate.credentials()
    sts.error = (403, "SignatureDoesNotMatch", f"The canonical string was x-amz-security-token:{SECRET}")
    with caplog.at_level(logging.WARNING):
        assert await gate.credentials() == first
        await renewed(gate)
    assert "can't be renewed" in caplog.text
    assert await gate.credentials() == first
    assert "Refreshing temporary credentials failed" in caplog.text  # botocore's own line, without what AWS said
    assert SECRET not in caplog.text


async def test_credentials_that_have_ended_are_never_given_out(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewing, "PAUSE", 0.0)
    sts.lifetime = 30
    gate = upstream()
    for _ in range(2):
        with pytest.raises(UpstreamUnavailable):
            await gate.credentials()
    sts.lifetime = 3600
    assert (await gate.credentials()).token


async def test_a_caller_that_gives_up_does_not_end_the_renewal_of_others(sts: Sts) -> None:
    sts.delay = 0.3
    gate = upstream()
    first, second = asyncio.create_task(gate.credentials()), asyncio.create_task(gate.credentials())
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second).token == "token-1"
    assert sts.calls == ["AssumeRole"]


async def test_long_lived_keys_need_no_call(sts: Sts) -> None:
    found = await upstream("keys").credentials()
    assert (found.access_key, found.token) == ("AKIALONGLIVED0000000", None)
    assert sts.calls == []


def test_the_account_is_the_one_of_the_credentials(sts: Sts) -> None:
    assert upstream("role", sts.url).identity() == Identity("111122223333", "aws")
    assert sts.calls == ["AssumeRole", "GetCallerIdentity"]
    assert sts.keys == ["AKIALONGLIVED0000000", "ASIAROLE000000000001"]


def test_the_proxy_of_the_environment_is_not_used(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert upstream("role", sts.url).account() == "111122223333"


def test_the_configured_proxy_is_used(sts: Sts) -> None:
    with pytest.raises(UpstreamUnavailable, match=r"upstream\.proxy"):
        upstream("keys", "http://sts.example.com", proxy="http://127.0.0.1:1").account()
    assert sts.calls == []


FAILURES: list[tuple[str, str | None, str]] = [
    ("no credentials", None, "no AWS credentials were found"),
    ("an unknown profile", "missing", "profile is not in the AWS configuration"),
]


@pytest.mark.parametrize(("profile", "text"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES])
async def test_what_is_missing_is_said_with_a_mend(sts: Sts, profile: str | None, text: str) -> None:
    gate = upstream(profile, sts.url)
    with pytest.raises(UpstreamUnavailable, match=text):
        await asyncio.to_thread(gate.account)
    with pytest.raises(UpstreamUnavailable, match=text):
        await gate.credentials()
    assert sts.calls == []


def test_a_refusal_is_told_by_its_code_alone(sts: Sts) -> None:
    sts.error = (403, "SignatureDoesNotMatch", f"The canonical string was x-amz-security-token:{SECRET}")
    with pytest.raises(UpstreamUnavailable, match="SignatureDoesNotMatch") as caught:
        upstream("keys", sts.url).account()
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_an_aws_that_can_not_be_reached_is_said(sts: Sts) -> None:
    with pytest.raises(UpstreamUnavailable, match="can't be reached"):
        upstream("keys", "http://127.0.0.1:1").account()


def test_the_configured_authority_is_the_one_trusted(sts: Sts, tmp_path: Path) -> None:
    file = certificate(tmp_path / "sts.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    sts.server.socket = context.wrap_socket(sts.server.socket, server_side=True)
    url = sts.url.replace("http:", "https:")
    assert upstream("keys", url, ca=file).account() == "111122223333"
    with pytest.raises(UpstreamUnavailable, match=r"not trusted: set upstream\.ca"):
        upstream("keys", url).account()


async def test_nothing_shows_a_key(sts: Sts) -> None:
    gate = upstream()
    keys = await gate.credentials()
    shown = f"{gate!r} {keys!r} {keys}"
    assert SECRET not in shown
    assert keys.access_key not in shown
    assert str(keys.token) not in shown


def test_nothing_is_touched_before_it_is_needed(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.Session", None)
    assert upstream()
    assert sts.calls == []
