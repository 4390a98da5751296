"""`sluicegate env`: a script that leads the programs of any shell through the gateway, and the files that it names."""

import contextlib
import json
import os
import re
import secrets
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from joserfc.util import urlsafe_b64decode

from addons.config import Duration
from addons.identity.local import LocalIssuer
from addons.identity.oidc import Verifier
from addons.identity.refusal import Refused
from addons.state import private_file
from scripts.cli.common import ConfigOption, fail, load_config
from scripts.cli.run import only, region_of, say, user
from scripts.client import files, gateway
from scripts.client.environment import script, variables

SCRIPT = "env.sh"


def env(
    out: Annotated[Path, typer.Option(help="A directory for the script and its files, of your own (0700).")],
    config_file: ConfigOption = None,
    group: Annotated[str | None, typer.Option(help="The agent's group; default the only one.")] = None,
    role: Annotated[str | None, typer.Option(help="The role to sign in to; default the group's only one.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who the agent is; default agent/USER.")] = None,
    duration: Annotated[str, typer.Option(help="How long the token is good: 30m, 1h, 7d.")] = "1h",
    token_file: Annotated[
        Path | None, typer.Option(help="A token of your own provider, which renews it there, instead of one made here.")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="The gateway as the agent reaches it, where that is another address.")
    ] = None,
) -> None:
    """Make a script for a shell to read, which sets up every AWS client behind the gateway that runs.

    Prints the line that reads it. The same command again renews the token, in the same session.
    """
    found = load_config(config_file)
    groups = found.config.groups
    if not (group or token_file):  # a token of your own says itself which groups it is in
        group = only("group", found.file, list(groups))
    if group and group not in groups:
        fail(f"{found.file} has no group {group!r}: it has {', '.join(groups)}")
    members = [group] if group else list(groups)
    roles = sorted({name for member in members for name in groups[member].roles})
    role = role or only("role", found.file, roles)
    if role not in roles:
        fail(f"no such role in {found.file} for {', '.join(members)}: it has {', '.join(roles)}")
    if not (token_file or found.config.identity.local):
        fail(f"the built-in issuer is off in {found.file}: give --token-file, or set `identity: {{local: true}}`")
    if proxy and not re.fullmatch(r"http://[^/@\s]+:\d+/?", proxy):
        fail("--proxy is http://HOST:PORT")
    if found.config.identity.proxy_authorization == "required":
        fail(f"{found.file} wants `proxy_authorization`, which no variable can give to all clients and keep fresh")
    if not (running := gateway.find(found)):
        fail(f"no gateway of {found.file} runs: start it with `sluicegate up` (`sluicegate doctor` tells more)", 1)
    subject, region, place = subject or f"agent/{user()}", region_of(dict(os.environ)), out.expanduser().absolute()
    try:
        good = int(Duration.parse(duration))
        own(place)
        given = files.fill(place, running.root, os.environ)
        if token_file:
            given = replace(given, token=token_file.absolute())
        else:
            renew(given.token, LocalIssuer.open(found.state), subject, members, good)
        file = place / SCRIPT
        settings = variables(
            proxy=(proxy or running.proxy).rstrip("/"), files=given, role=role, session_name=subject, region=region
        )
        private_file.replace(file, script(settings).encode())
    except (OSError, ValueError) as error:
        fail(str(error), 1)
    except Refused as error:
        fail(error.message)
    say(f"wrote {file}: {subject}, {role}")
    if not token_file:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + good))
        say(f"its token is good until {until}; the same command renews it")
    if not region:
        say("it sets no region: none is set here (AWS_REGION)")
    say("WARNING: nothing hides your keys and the gateway's state from what runs as you: `sluicegate run` does.")
    print(f". {shlex.quote(str(file))}")


def own(place: Path) -> None:
    """See that a directory is there in which nobody else can put a script. Raises ValueError and OSError."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = place.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ValueError(f"others can write to {place}: name a directory of your own with --out")


def renew(file: Path, issuer: LocalIssuer, subject: str, groups: list[str], duration: int) -> None:
    """Write a new token, of the session of the one that is there. Raises `Refused` for one that would be refused."""
    verifier = Verifier([issuer.issuer()])
    session = secrets.token_hex(16)
    # The agent can write here: only what the issuer signed for the same agent counts, though its time may be over.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError, Refused):
        old = private_file.read(file).decode()
        claims = verifier.verify(old, now=json.loads(urlsafe_b64decode(old.split(".")[1].encode()))["iat"])
        if (claims.subject, claims.groups) == (subject, tuple(groups)) and claims.sid:
            session = claims.sid
    made = issuer.token(subject, groups, duration=duration, session_id=session)
    verifier.verify(made, now=time.time())
    private_file.replace(file, made.encode())
