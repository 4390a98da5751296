"""`sluicegate up`: run the gateway and its screen."""

import asyncio
import contextlib
import fcntl
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from scripts.cli.common import ConfigOption, fail, load_config
from scripts.client.defaults import STATE_FILE


def up(
    config_file: ConfigOption = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write proxy, web, ca and pid here as JSON once both listen.")
    ] = None,
) -> None:
    """Run the gateway and its screen until SIGTERM or Ctrl-C; SIGHUP reads the policy again."""
    gateway = load_config(config_file)
    from scripts.cli.serve import quiet, serve  # mitmproxy takes a second to load, which `--help` need not wait for

    quiet()
    raise_file_limit()
    with alone(gateway.state):
        # What a killed gateway left names a port that may be anybody's by now; the next token is not for them.
        (gateway.state / STATE_FILE).unlink(missing_ok=True)
        try:
            asyncio.run(serve(gateway, ready_file))
        except KeyboardInterrupt:
            sys.exit(130)
        finally:
            for path in (ready_file, gateway.state / STATE_FILE):
                if path:
                    path.unlink(missing_ok=True)


def raise_file_limit() -> None:
    """Use all file descriptors that the system grants: each connection takes one or two."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # macOS grants "infinity", and then refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """Be the only gateway of a state directory: a second one would take the first one's operator and screen away."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(state / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"a gateway with the state directory {state} runs already: end it first, or name another state_directory")
    try:
        yield
    finally:
        os.close(handle)
