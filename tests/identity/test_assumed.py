"""Roles that are assumed for sessions: whose name AWS learns, who gets which credentials, and when they are renewed."""

import asyncio
import json
import logging
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.identity import assumed, renewing
from addons.identity.assumed import AssumedRoles, Assumption, named
from addons.identity.renewing import UpstreamUnavailable
from addons.identity.session import Session
from tests.identity.sts import SECRET, Sts, gap, upstream

pytestmark = pytest.mark.usefixtures("aws")
ROLE = "arn:aws:iam::444455556666:role/real"
ADA = Session("5e55", "https://idp.example.com", "agent/ada", ("developers",), "arn:aws:iam::1:role/r", "l", "t", 1, 2)
POLICY = '{"Version":"2012-10-17","Statement":[]}'


def roles(sts: Sts) -> AssumedRoles:
    return AssumedRoles(upstream("keys", sts.url))


def asked(sts: Sts) -> list[dict[str, str]]:
    return [fields for fields in sts.asked if fields["Action"] == "AssumeRole"]


async def test_aws_learns_the_subject_the_tags_and_the_session_policy(sts: Sts) -> None:
    wanted = Assumption.of(ADA, ROLE, "ext-1", (("statements", POLICY),))
    keys = await roles(sts).credentials(wanted)
    assert (keys.secret_key, keys.token) == (SECRET, "token-1")
    (fields,) = asked(sts)
    name = fields["RoleSessionName"]
    assert re.fullmatch("agent-ada-[0-9a-f]{16}", name)  # a slash is none of AWS's characters
    tags = {fields[f"Tags.member.{n}.Key"]: fields[f"Tags.member.{n}.Value"] for n in (1, 2, 3)}
    assert tags == {"issuer": ADA.issuer, "session": ADA.id, "subject": ADA.subject}
    assert {fields[f"TransitiveTagKeys.member.{n}"] for n in (1, 2, 3)} == tags.keys()
    plain = {name: value for name, value in fields.items() if "member" not in name}
    assert plain == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": name,
        "SourceIdentity": name,
        "DurationSeconds": "3600",
        "ExternalId": "ext-1",
        "Policy": POLICY,
    }
    assert sts.keys == ["AKIALONGLIVED0000000"]  # asked for by the gateway's own


async def test_no_external_id_and_no_policy_are_sent_where_there_are_none(sts: Sts) -> None:
    await roles(sts).credentials(Assumption.of(ADA, ROLE))
    assert not {"ExternalId", "Policy"} & asked(sts)[0].keys()


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_every_subject_has_a_name_of_its_own_that_aws_takes(one: str, other: str) -> None:
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", named(one), re.ASCII)
    assert (named(one) == named(other)) is (one == other)


@given(st.text(min_size=1, max_size=300))
def test_every_tag_is_one_that_aws_takes(subject: str) -> None:
    for name, value in Assumption.of(replace(ADA, subject=subject), ROLE).tags:
        assert re.fullmatch(r"[\w]{1,128}", name)
        assert re.fullmatch(r"[\w .:/=+@-]{1,256}", value)  # narrower than STS's [\p{L}\p{Z}\p{N}_.:/=+\-@]*


def test_a_plain_subject_is_its_own_name() -> None:
    assert named("ada@example.com") == "ada@example.com"


OTHERS = {
    "another subject": replace(ADA, subject="agent/eve"),
    "another session": replace(ADA, id="0ther"),
    "another issuer": replace(ADA, issuer="https://idp.example.org"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
async def test_sessions_share_no_credentials(sts: Sts, other: Session) -> None:
    pool = roles(sts)
    mine = await pool.credentials(Assumption.of(ADA, ROLE))
    theirs = await pool.credentials(Assumption.of(other, ROLE))
    assert mine != theirs
    assert await pool.credentials(Assumption.of(ADA, ROLE)) == mine
    assert len(asked(sts)) == 2


async def test_another_role_and_another_policy_are_other_credentials(sts: Sts) -> None:
    pool = roles(sts)
    wanted = [
        Assumption.of(ADA, ROLE),
        Assumption.of(ADA, f"{ROLE}2"),
        Assumption.of(ADA, ROLE, "xy"),
        Assumption.of(ADA, ROLE, None, (("call", POLICY),)),
    ]
    assert len({await pool.credentials(one) for one in wanted}) == 4


async def test_fifty_callers_ask_once_and_the_loop_goes_on(sts: Sts) -> None:
    sts.delay = 1.0
    pool, stop = roles(sts), asyncio.Event()
    await asyncio.to_thread(pool._upstream.identity)  # as at the start: the client is made there
    measured = asyncio.create_task(gap(stop))
    found = await asyncio.gather(*(pool.credentials(Assumption.of(ADA, ROLE)) for _ in range(50)))
    stop.set()
    assert len(set(found)) == len(asked(sts)) == 1
    assert await measured < 0.3  # some milliseconds, on a machine that is not busy; STS takes a second


async def test_they_are_renewed_in_the_background_from_twenty_minutes_before_their_end(sts: Sts) -> None:
    pool, wanted = roles(sts), Assumption.of(ADA, ROLE)
    sts.lifetime = 19 * 60
    first = await pool.credentials(wanted)
    sts.lifetime, sts.delay = 21 * 60, 0.5
    stop = asyncio.Event()
    measured = asyncio.create_task(gap(stop))
    assert await pool.credentials(wanted) == first  # at once, while STS takes its time
    flight = pool._kept[wanted].flight
    assert flight
    assert not flight.done()
    await asyncio.wait([flight], timeout=5)
    await asyncio.sleep(0)
    stop.set()
    assert await measured < 0.3
    assert (await pool.credentials(wanted)).token == "token-2"
    assert (await pool.credentials(wanted)).token == "token-2"  # 21 minutes are enough
    assert len(asked(sts)) == 2


async def test_a_failed_renewal_keeps_what_still_holds(sts: Sts) -> None:
    pool, wanted = roles(sts), Assumption.of(ADA, ROLE)
    sts.lifetime = 19 * 60
    first = await pool.credentials(wanted)
    sts.error = (503, "ServiceUnavailable", "m")
    for _ in range(3):
        assert await pool.credentials(wanted) == first


async def test_credentials_about_to_end_are_never_given_out(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewing, "PAUSE", 0.0)
    pool, wanted = roles(sts), Assumption.of(ADA, ROLE)
    sts.lifetime = 30
    with pytest.raises(UpstreamUnavailable, match="NTP"):
        await pool.credentials(wanted)
    sts.lifetime = 3600
    assert (await pool.credentials(wanted)).token == "token-2"


async def test_a_refusal_is_told_by_its_code_with_a_mend_and_not_asked_for_again_at_once(sts: Sts) -> None:
    sts.error = (403, "AccessDenied", f"User {SECRET} is not authorized")
    pool = roles(sts)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable, match="sts:TagSession") as caught:
            await pool.credentials(Assumption.of(ADA, ROLE))
        assert "AccessDenied" in str(caught.value)
        assert SECRET not in repr(caught.value)
    assert len(asked(sts)) == 1


async def test_an_sts_that_is_not_there_is_said(sts: Sts) -> None:
    with pytest.raises(UpstreamUnavailable, match="can't be reached"):
        await AssumedRoles(upstream("keys", "http://127.0.0.1:1")).credentials(Assumption.of(ADA, ROLE))


def too_large(sts: Sts, limit: int) -> None:
    """AWS's packed limit, which nobody can compute: here, of characters."""
    usual = sts.answer

    def answer(action: str, fields: dict[str, list[str]]) -> tuple[int, str]:
        if len(fields.get("Policy", [""])[0]) > limit:
            sts.error = (400, "PackedPolicyTooLarge", "Packed policy consumes 105% of allotted space")
        found = usual(action, fields)
        sts.error = None
        return found

    sts.answer = answer  # type: ignore[method-assign]


async def test_a_policy_that_aws_finds_too_large_is_followed_by_a_coarser_one(
    sts: Sts, caplog: pytest.LogCaptureFixture
) -> None:
    too_large(sts, 45)
    forms = tuple((form, json.dumps({"Statement": "x" * size})) for form, size in (("a", 60), ("b", 50), ("c", 10)))
    with caplog.at_level(logging.WARNING):
        assert (await roles(sts).credentials(Assumption.of(ADA, ROLE, None, forms))).token == "token-3"
    assert [fields["Policy"] for fields in asked(sts)] == [text for _, text in forms]
    assert "'b' is too large" in caplog.text


async def test_where_none_is_small_enough_there_are_no_credentials(sts: Sts) -> None:
    too_large(sts, 5)
    with pytest.raises(UpstreamUnavailable, match="session_policy: none"):
        await roles(sts).credentials(Assumption.of(ADA, ROLE, None, (("a", POLICY), ("b", POLICY))))
    assert all("Policy" in fields for fields in asked(sts))  # never without one


async def test_no_more_are_kept_than_the_bound(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assumed, "KEPT", 3)
    pool = roles(sts)
    sessions = [Assumption.of(replace(ADA, id=f"s{number}"), ROLE) for number in range(5)]
    for wanted in sessions:
        await pool.credentials(wanted)
        await pool.credentials(sessions[0])  # in use, so the last to go
    assert len(pool._kept) == 3
    assert sessions[0] in pool._kept


async def test_an_agent_that_asks_for_much_does_not_keep_others_waiting(sts: Sts) -> None:
    pool = roles(sts)
    await pool.credentials(Assumption.of(ADA, f"{ROLE}-first"))  # the client is made
    sts.delay = 0.3
    eve = replace(ADA, subject="agent/eve", id="e")
    flood = [asyncio.ensure_future(pool.credentials(Assumption.of(eve, f"{ROLE}{n}"))) for n in range(24)]
    await asyncio.sleep(0.05)
    await pool.credentials(Assumption.of(ADA, ROLE))
    assert sum(one.done() for one in flood) <= 8  # of Eve's six rounds, two at most
    assert len(await asyncio.gather(*flood)) == 24


async def test_nothing_shows_a_key_or_the_external_id(sts: Sts) -> None:
    pool, wanted = roles(sts), Assumption.of(ADA, ROLE, "external-secret")
    keys = await pool.credentials(wanted)
    shown: Any = f"{pool!r} {wanted!r} {keys!r} {pool._kept!r}"
    for secret in (SECRET, keys.access_key, str(keys.token), "external-secret"):
        assert secret not in shown
