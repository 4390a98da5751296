"""What the subcommands share: finding the configuration, and ending with a clear message."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from addons import config
from policy.problems import Invalid

STATE_FILE = "ready.json"  # in the state directory: proxy, web, ca and pid of the gateway that runs

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration; default $SLUICEGATE_CONFIG, else ./gateway.yaml."),
]


def fail(message: str, code: int = 2) -> NoReturn:
    """End with a message on standard error."""
    print(f"sluicegate: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def config_path(given: Path | None) -> Path:
    """The configuration file that a command works on."""
    return given or Path(os.environ.get("SLUICEGATE_CONFIG", "gateway.yaml"))


def load_config(given: Path | None) -> config.Gateway:
    """Load the configuration, or end with every problem in it (exit 2)."""
    path = config_path(given)
    try:
        return config.load(path)
    except Invalid as error:
        count = len(error.problems)
        fail("\n".join([f"{count} problem{'s' if count > 1 else ''} in the configuration:", *map(str, error.problems)]))
