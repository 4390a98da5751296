"""What the subcommands share: finding the configuration, and ending with a clear message."""

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from scripts.client import defaults

if TYPE_CHECKING:
    from addons import config

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration; default $SLUICEGATE_CONFIG, else ./gateway.yaml, else the one that `run` made.",
    ),
]


def fail(message: str, code: int = 2) -> NoReturn:
    """End with a message on standard error."""
    print(f"sluicegate: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def operator() -> str:
    """The user that this process runs as; not what the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no account
        return f"uid {os.getuid()}"


def named(given: Path | None) -> Path | None:
    """The configuration that somebody named, by an option or in the environment."""
    return given or (Path(os.environ["SLUICEGATE_CONFIG"]) if os.environ.get("SLUICEGATE_CONFIG") else None)


def config_path(given: Path | None) -> Path:
    """The configuration file that a command works on. Ends where `run` made several and it is not clear which."""
    if file := named(given):
        return file
    if Path("gateway.yaml").exists():
        return Path("gateway.yaml")
    made = sorted(defaults.home(os.environ).glob("*/gateway.yaml"))
    running = [file for file in made if (file.parent / "state" / defaults.STATE_FILE).exists()]
    if len(found := running or made) > 1:
        fail("\n".join(["`run` made several configurations: choose one with --config:", *map(str, found)]))
    if not found:
        fail("there is no gateway.yaml here and `run` has made none: name a configuration with --config FILE")
    return found[0]


def load_config(given: Path | None) -> "config.Gateway":
    """Load the configuration, or end with every problem in it (exit 2)."""
    from addons import config  # here: it takes half a second, which `--help` need not wait for
    from policy.problems import Invalid

    path = config_path(given)
    try:
        return config.load(path)
    except Invalid as error:
        count = len(error.problems)
        fail("\n".join([f"{count} problem{'s' if count > 1 else ''} in the configuration:", *map(str, error.problems)]))
