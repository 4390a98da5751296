"""The client and the upstream over real sockets: what is counted is what was answered."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks import calls, stand
from scripts.benchmarks.load import Client, Failed, Work, connecting
from scripts.benchmarks.measure import Cores, Meter

KEYS = calls.Keys("AKIDAGENT", "agents-secret", "agents-token")


@pytest.fixture(scope="module")
def here() -> Iterator[stand.Stand]:
    with stand.stand(Cores.choose()) as made:
        yield made


def work(call: calls.Call, *statuses: bytes) -> Work:
    return Work(call.host, calls.signed(call, KEYS), frozenset(statuses or {b"200"}))


def test_every_counted_request_reached_the_upstream(here: stand.Stand) -> None:
    here.control("/judge")
    client = Client(here.upstream, work(calls.GET_ITEM), 4)
    load = client.run(0.1)
    client.close()
    right, wrong = here.control("/report")
    here.control("/trust")
    assert right == 0  # the agent's key is not the real one
    assert sum(wrong.values()) == client.sent == len(load.latencies) + 4  # one each to warm up
    assert list(wrong) == ["signed with another key than the real one"]


def test_a_load_lasts_as_long_as_asked_and_its_latencies_fit_into_it(here: stand.Stand) -> None:
    client = Client(here.upstream, work(calls.GET_ITEM), 2)
    with Meter().measure(here.upstream.pid) as usage:
        load = client.run(0.2)
    client.close()
    assert 0.2 <= load.seconds < 2
    assert len(load.latencies) > 50
    assert 0 < load.quantile(0.5) <= load.quantile(0.99) <= load.latencies[-1] <= load.seconds
    # Two closed loops: the latencies add up to no more than two times the clock.
    assert sum(load.latencies) <= 2 * load.seconds
    assert 0 < usage.cpu < load.seconds + 0.2


@pytest.mark.parametrize("call", calls.CALLS, ids=lambda call: call.name)
def test_the_upstream_answers_each_call_byte_for_byte(here: stand.Stand, call: calls.Call) -> None:
    client = Client(here.upstream, work(call), 1)
    client.close()
    assert client.last == call.answer.encoded()


def test_an_unexpected_status_ends_the_run(here: stand.Stand) -> None:
    with pytest.raises(Failed, match="answered 200 instead of 403"):
        Client(here.upstream, work(calls.GET_ITEM, b"403"), 1)


def test_a_new_connection_is_made_for_each_request(here: stand.Stand) -> None:
    load = connecting(here.upstream, work(calls.GET_ITEM), 0.1)
    assert load.latencies
    assert load.latencies[0] <= load.seconds


def test_nothing_is_left_running_when_the_stand_closes() -> None:
    with stand.stand(Cores.choose()) as made:
        process, directory = made.processes[0], made.directory
        assert process.poll() is None
    assert process.poll() is not None
    assert not directory.exists()


def test_a_process_without_an_autogroup_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a control group of its own a process has none (kernel/sched/autogroup.c): the file is there, and empty."""
    (tmp_path / "autogroup").write_text("")
    monkeypatch.setattr(stand, "AUTOGROUP", tmp_path / "autogroup")
    before = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    with stand.favoured(Cores.choose()):
        pass
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)) == before
