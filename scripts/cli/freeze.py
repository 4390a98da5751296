"""`sluicegate freeze` and `sluicegate thaw`: the kill switch, for a session, a subject or everything.

It is a line in the state directory, which a running gateway looks for several times a second and any other one at its
start: it works while no gateway runs, and needs nothing of one that hangs.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from addons.state.store import Stop
from scripts.cli.common import ConfigOption, fail, load_config
from scripts.cli.operating import JsonOption, ReasonOption, chosen, named, note, place, reason_of, shared, when

SessionOption = Annotated[str | None, typer.Option(help="One session, by its id (`sluicegate session list`).")]
SubjectOption = Annotated[str | None, typer.Option(help="All sessions of one subject, such as agent/ada.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everybody, tunnels to hosts that are not AWS's included.")]


def freeze(
    config_file: ConfigOption = None,
    session: SessionOption = None,
    subject: SubjectOption = None,
    everything: AllOption = False,
    reason: ReasonOption = "",
    listed: Annotated[bool, typer.Option("--list", help="Only show what is frozen.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Refuse new calls and end held ones, within a second, until `sluicegate thaw`; also across restarts."""
    gateway = load_config(config_file)
    if listed:
        with shared(gateway) as store:
            show([stop for stop in store.stops()[1] if stop.kind == "freeze"], as_json)
        return
    place(gateway, "freeze", chosen(session, subject, everything), reason, as_json)


def thaw(
    config_file: ConfigOption = None,
    session: SessionOption = None,
    subject: SubjectOption = None,
    everything: AllOption = False,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Lift the freeze of a session, of a subject, or the one of all; each is lifted as it was put."""
    gateway = load_config(config_file)
    scope, target = chosen(session, subject, everything)
    with shared(gateway) as store:
        lifted = store.thaw(scope, target)
        left = [stop for stop in store.stops()[1] if stop.kind == "freeze"]
    if lifted:
        note(gateway, "thaw", scope=scope, target=target, reason=reason_of(reason))
    if as_json:
        print(json.dumps({"thawed": asdict(lifted) if lifted else None, "frozen": list(map(asdict, left))}))
    elif lifted:
        print(f"Thawed: {named(scope, target)}, at the gateway of {gateway.file}.")
    if left and not as_json:
        print("Still frozen:")
        show(left, as_json)
    if not lifted:
        fail(f"{named(scope, target)} was not frozen, at the gateway of {gateway.file}", 1)


def show(stops: list[Stop], as_json: bool) -> None:
    """Freezes for a person, or a machine."""
    if as_json:
        print(json.dumps(list(map(asdict, stops)), indent=2))
        return
    for stop in stops:
        print(f"{named(stop.scope, stop.target)}, by {stop.by}, {when(stop.at)}  {stop.reason}".rstrip())
    if not stops:
        print("Nothing is frozen.")
