"""`sluicegate keys`: the keys that seal synthetic credentials. Nothing here shows one."""

import json
from pathlib import Path
from typing import Annotated

import typer

from addons.identity.sealed import KEEP, KeyRing
from scripts.cli.common import ConfigOption, fail, load_config
from scripts.cli.operating import JsonOption, note, when

FILE = "keyring.json"

app = typer.Typer(no_args_is_help=True, help="List and rotate the keys that seal credentials.")


def opened(state: Path) -> KeyRing:
    """The key ring of a state directory, or the end of the command."""
    path = state / FILE
    if not path.exists():
        fail(f"there is no {path} yet: the first `sluicegate up` makes it", 1)
    try:
        return KeyRing.open(path)
    except (OSError, ValueError) as error:
        fail(str(error), 1)


@app.command("list")
def list_(config_file: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the ids of the keys, and until when the replaced ones open what they sealed."""
    found = opened(load_config(config_file).state).listed()
    if as_json:
        print(json.dumps([described(kid, replaced) for kid, replaced in found], indent=2))
        return
    for kid, replaced in found:
        life = "current" if replaced is None else f"replaced {when(replaced)}, opens until {when(replaced + KEEP)}"
        print(f"{kid}  {life}")


def described(kid: str, replaced: int | None) -> dict[str, object]:
    """A key for a machine; moments in seconds since the epoch."""
    return {"kid": kid, "current": replaced is None, "replaced": replaced, "opensUntil": replaced and replaced + KEEP}


@app.command()
def rotate(
    config_file: ConfigOption = None,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="The old key may have leaked: refuse at once what it sealed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Seal with a new key. What the old ones sealed goes on to open, for longer than a session lives."""
    gateway = load_config(config_file)
    ring = opened(gateway.state)
    try:
        ring.rotate(keep_old=not forget_old)
    except (OSError, ValueError) as error:
        fail(str(error), 1)
    kid = next(kid for kid, replaced in ring.listed() if replaced is None)
    note(gateway, "keys-rotated", kid=kid, forgotOld=forget_old)
    if as_json:
        print(json.dumps([described(*key) for key in ring.listed()], indent=2))
        return
    print(f"Credentials are sealed with key {kid} from now on; a running gateway takes it up within some seconds.")
    print("Gateways with a state directory of their own need a copy of the file before they meet its tokens.")
