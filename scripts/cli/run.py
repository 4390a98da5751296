"""`sluicegate run`: a command, such as an agent, behind the gateway, without the operator's keys."""

import contextlib
import getpass
import json
import os
import secrets
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated

import typer

from addons import config
from addons.approvals import operators
from addons.identity.local import LocalIssuer
from addons.state import private_file
from scripts.cli.common import fail, load_config, named
from scripts.client import defaults, sandbox, supervise, walls
from scripts.client.environment import child_environment, variables
from scripts.client.files import Directory
from scripts.client.gateway import Running, Unavailable, lease
from scripts.client.signing_in import cache_directory

TOKEN_LIFE = 3600  # seconds; a new token comes at half of it
LOOK = 1.0  # seconds between looks at the token and the gateway

run = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


# Options after the command are the command's own.
@run.command(context_settings={"allow_interspersed_args": False})
def run_(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="What to run.")],
    config_file: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration; default $SLUICEGATE_CONFIG, else one of your own."),
    ] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Use the gateway that wrote this file (`up`).")] = None,
    allow_bedrock: Annotated[
        bool, typer.Option("--allow-bedrock", help="The agent's model is on Bedrock: let it be invoked.")
    ] = False,
    endpoint: Annotated[str | None, typer.Option(help="An AWS of your own, such as LocalStack or moto.")] = None,
    group: Annotated[str | None, typer.Option(help="The agent's group; default the only one.")] = None,
    role: Annotated[str | None, typer.Option(help="The role to sign in to; default the group's only one.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who the agent is; default agent/USER.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A token of your own provider, where the built-in issuer is off.")
    ] = None,
    sandboxed: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="Hide your keys and the gateway's state from the command.")
    ] = True,
) -> None:
    """Run a command behind the gateway: its AWS calls are decided, signed, masked and recorded there.

    Finds the gateway of the configuration or starts one. Ends with the command's exit code; 128 + n for signal n.
    """
    environ = dict(os.environ)
    region = region_of(environ)
    gateway = chosen(config_file, environ, region, allow_bedrock, endpoint)
    subject = subject or f"agent/{user()}"
    group = group or only("group", gateway.file, list(gateway.config.groups))
    if group not in gateway.config.groups:
        fail(f"{gateway.file} has no group {group!r}: it has {', '.join(gateway.config.groups)}")
    role = role or only("role", gateway.file, gateway.config.groups[group].roles)
    token = tokens(gateway, subject, group, token_file)
    means = sandbox.find() if sandboxed else sandbox.Means("none", "--no-sandbox was given")
    try:
        with (
            lease(gateway, ready_file, environ) as running,
            Directory(running.root, environ, token, defaults.home(environ) / "commands") as directory,
            terminal(),
        ):
            given = variables(
                proxy=running.proxy, files=directory.files, role=role, session_name=subject, region=region
            )
            mounts = [] if means.kind == "none" else hidden(gateway, environ, directory.path, ready_file)
            introduce(gateway, running, means)
            code = child(means.kind, mounts, command, child_environment(environ, given), directory, running)
    except Unavailable as error:
        fail(str(error), 1)
    except (ValueError, OSError) as error:
        fail(str(error), 1)
    sys.exit(code)


def chosen(
    config_file: Path | None, environ: dict[str, str], region: str | None, bedrock: bool, endpoint: str | None
) -> config.Gateway:
    """The configuration: the named one, else the operator's own, made at first use.

    Never ./gateway.yaml by itself: an agent that worked here before could have written it.
    """
    if file := named(config_file):
        if bedrock or endpoint:
            fail("--allow-bedrock and --endpoint are for a configuration that `run` makes: write them in yours")
        return load_config(file)
    from addons.identity.upstream import UpstreamUnavailable

    if Path("gateway.yaml").exists():
        say("gateway.yaml in this directory is not used: name it with --config if you trust it")
    try:
        file, account, made = defaults.configuration(environ, region=region, bedrock=bedrock, endpoint=endpoint)
    except UpstreamUnavailable as error:
        fail(f"your AWS credentials can't be used: {error}", 1)
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    say(f"AWS account {account}, with your own credentials (profile {profile}), which the command does not get")
    say(f"{'made ' if made else ''}{file}")
    if made:
        say("reads that reveal no secret pass; writes wait for you; what is not AWS passes unread")
    return load_config(file)


def user() -> str:
    """The operator's name on this machine; a number where there is no account."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def only(what: str, file: Path, names: list[str]) -> str:
    """The one name where there is no choice."""
    if len(names) != 1:
        fail(f"{file} has several {what}s: choose one with --{what}: {', '.join(names)}")
    return names[0]


def tokens(gateway: config.Gateway, subject: str, group: str, token_file: Path | None) -> Callable[[], bytes]:
    """What makes the command's tokens; all those of one `run` are one session."""
    if token_file:
        return token_file.read_bytes
    if not gateway.config.identity.local:
        fail(f"the built-in issuer is off in {gateway.file}: give --token-file, or set `identity: {{local: true}}`")
    try:
        issuer = LocalIssuer.open(gateway.state)
    except (OSError, ValueError) as error:
        fail(str(error), 1)
    session = secrets.token_hex(16)
    return lambda: issuer.token(subject, [group], duration=TOKEN_LIFE, session_id=session).encode()


def hidden(gateway: config.Gateway, environ: dict[str, str], given: Path, ready: Path | None) -> list[walls.Mount]:
    """The walls around this gateway. The command must not start in what they hide."""
    home, kept = defaults.home(environ), cache_directory(environ)
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)  # else the command could make it, and the operator would use it
    found = walls.plan(
        environ,
        Path.cwd(),
        hide=[home, kept, gateway.state, gateway.audit, gateway.sessions],
        show=[given],
        keep=[
            gateway.file,
            *gateway.policies.values(),
            *gateway.redaction,
            *(path for path in (gateway.ca, ready) if path),
            sandbox.PACKAGES,
            Path(sys.prefix),
            Path(sys.base_prefix),
        ],
        root=os.getuid() == 0,
    )
    for path in (
        *(gateway.state, gateway.audit, gateway.sessions, *gateway.policies.values(), *gateway.redaction),
        *(path for path in (gateway.ca, ready) if path),
    ):
        if link := found.loose_link(Path(os.path.abspath(path))):
            fail(
                f"{link} is a symbolic link, which the command could turn to another place: "
                f"write {os.path.realpath(link)} in the configuration, or remove the link"
            )
    if found.hides(Path.cwd()):
        fail(f"the sandbox hides {Path.cwd()} from the command: start it in another directory")
    return found.mounts()


def introduce(gateway: config.Gateway, running: Running, means: sandbox.Means) -> None:
    """Tell the operator, in a few lines, where to decide and what is not protected."""
    if link := one_time_link(gateway, running):
        say(f"approve and watch at {link} (works once)")
    else:
        say(f"approve with `sluicegate approvals list --config {gateway.file}`")
    if means.kind == "none":
        say(f"WARNING: no sandbox: {means.text}.")
        say("WARNING: the command can read your AWS keys and the gateway's state, and approve its own calls.")
        if sys.platform.startswith("linux"):
            say("WARNING: install bubblewrap (`bwrap`), or run the gateway as another user.")


def one_time_link(gateway: config.Gateway, running: Running) -> str:
    """A link to the screen, for a terminal only: logs are read by others."""
    if not sys.stderr.isatty():
        return ""
    import urllib3

    try:
        token = private_file.read(gateway.state / operators.FILE).decode()
        answer = urllib3.request(
            "POST",
            running.web + "sluicegate/link",
            headers={"Authorization": f"Bearer {token}"},
            timeout=5,
            retries=False,
        )
        return f"{running.web}?token={json.loads(answer.data)['token']}"
    except (OSError, urllib3.exceptions.HTTPError, ValueError, KeyError):
        return ""


def child(
    kind: sandbox.Kind,
    mounts: list[walls.Mount],
    command: list[str],
    given: dict[str, str],
    directory: Directory,
    running: Running,
) -> int:
    """Run the command to its end, with fresh tokens meanwhile; its exit code."""
    renewed = time.time()
    lost = False

    def meanwhile() -> None:
        nonlocal renewed, lost
        if not 0 <= time.time() - renewed < TOKEN_LIFE / 2:  # the wall clock: a machine that slept renews at once
            renewed = time.time()
            try:
                directory.refresh()
            except OSError as error:
                say(f"the token can't be renewed: {error.strerror}")
        if not lost and not running.alive():
            lost = True
            say("the gateway has ended: AWS calls fail from now on")

    supervise.block()
    reading, writing = os.pipe()
    status = writing if kind == "bwrap" else None
    line = sandbox.command(kind, mounts, Path.cwd(), command, status)
    process = subprocess.Popen(line, env=given, pass_fds=[writing] if status is not None else [])
    os.close(writing)
    with os.fdopen(reading) as told:  # open to the end: bubblewrap writes there once more
        target = process_1(told) if status is not None else 0
        return supervise.watch(process.pid, LOOK, meanwhile, target)


def process_1(told: IO[str]) -> int:
    """The process inside bubblewrap that passes signals on, by its number outside; 0 where it never came to be."""
    with contextlib.suppress(ValueError, KeyError):
        return int(json.loads(told.readline())["child-pid"])
    return 0


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Leave the terminal as it was: its settings, and us in the foreground, whatever the command did."""
    try:
        handle = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield
        return
    settings, ours = termios.tcgetattr(handle), os.tcgetpgrp(handle) == os.getpgrp()
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with contextlib.suppress(OSError, termios.error):
                os.tcsetpgrp(handle, os.getpgrp())
                termios.tcsetattr(handle, termios.TCSADRAIN, settings)
        os.close(handle)


def region_of(environ: dict[str, str]) -> str | None:
    """The operator's region, as botocore finds it."""
    import botocore.session

    region: str | None = environ.get("AWS_REGION")
    if not region:
        with contextlib.suppress(Exception):  # an unknown profile is told when credentials are asked for
            region = botocore.session.Session().get_config_variable("region")
    return region


def say(text: str) -> None:
    """One line for the operator."""
    print(f"sluicegate: {text}", file=sys.stderr, flush=True)
