"""The shared state as a gateway sees it: followed, stale, and written in batches."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from addons import shared
from addons.identity.refusal import Refused
from addons.identity.session import Session
from addons.shared import Shared
from addons.state.sqlite import SqliteStore
from addons.state.store import Seen, Stop, StoreUnavailable

SESSION = Session("s1", "https://idp", "agent/ada", ("dev",), "role", "l", "jti", 1000, 5000, token_issued=900)


class Broken(SqliteStore):
    """A store that can fail."""

    fails = False
    batches = 0

    def version(self) -> int:
        if self.fails:
            raise StoreUnavailable("it burns")
        return super().version()

    def saw(self, sessions: Iterable[Seen]) -> None:
        self.batches += 1
        super().saw(sessions)


@pytest.fixture
def kept(tmp_path: Path) -> Broken:
    return Broken(tmp_path / "state.db")


@pytest.fixture
async def followed(kept: Broken, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Shared, list[int]]]:
    monkeypatch.setattr(shared, "INTERVAL", 0.01)
    found, changes = Shared(kept), []

    async def changed() -> None:
        changes.append(found.version)

    task = asyncio.ensure_future(found.watch(changed))
    yield found, changes
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await found.close()


async def test_a_change_of_the_stops_is_told_once(followed: tuple[Shared, list[int]], kept: Broken) -> None:
    found, changes = followed
    found.check(SESSION)
    kept.stop(Stop("freeze", "session", "s1", 1.0, "ops"))
    await asyncio.sleep(0.2)
    assert len(changes) == 1
    with pytest.raises(Refused, match="frozen by ops") as caught:
        found.check(SESSION)
    assert (caught.value.code, caught.value.status) == ("AccessDenied", 403)


async def test_what_cannot_be_read_any_more_refuses_everybody(
    followed: tuple[Shared, list[int]],
    kept: Broken,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, _ = followed
    monkeypatch.setattr(shared, "STALE", 0.3)
    kept.fails = True
    found.check(SESSION)  # a hiccup is no end
    await asyncio.sleep(0.5)
    with pytest.raises(Refused) as caught:
        found.check(SESSION)
    assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)
    assert capsys.readouterr().err.count("it burns") == 1
    kept.fails = False
    await asyncio.sleep(0.2)
    found.check(SESSION)


async def test_calls_are_written_in_batches_and_a_sign_in_soon(
    followed: tuple[Shared, list[int]], kept: Broken
) -> None:
    found, _ = followed
    for _ in range(100):
        found.saw(SESSION)
    await asyncio.sleep(0.1)
    assert kept.batches == 0
    found.saw(SESSION, signed_in=True)
    await asyncio.sleep(0.1)
    assert kept.batches == 1
    (seen,) = kept.sessions(5)
    assert (seen.id, seen.calls, seen.groups) == ("s1", 100, ("dev",))


@pytest.mark.parametrize(("at", "stopped"), [(899.0, False), (900.0, True), (950.0, True), (1001.0, True)])
async def test_a_revocation_counts_for_old_tokens_whenever_they_signed_in(
    kept: Broken, at: float, stopped: bool
) -> None:
    """The session began at 1000, by a token of 900."""
    kept.stop(Stop("revoke", "subject", "agent/ada", at, "ops"))
    assert (Shared(kept).stop_of(SESSION) is not None) is stopped
