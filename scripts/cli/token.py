"""`sluicegate token`: a token of the built-in issuer, for an agent on this machine."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from addons.config import Duration
from addons.identity.local import LocalIssuer
from addons.identity.oidc import Verifier
from addons.identity.refusal import Refused
from addons.state import private_file
from scripts.cli.common import ConfigOption, fail, load_config


def token(
    config_file: ConfigOption = None,
    *,
    subject: Annotated[str, typer.Option(help="Who the agent is, such as agent/ada.")],
    group: Annotated[list[str], typer.Option(help="A group that it is in; may be repeated.")],
    out: Annotated[Path | None, typer.Option(help="Write the token here (0600) instead of printing it.")] = None,
    duration: Annotated[str, typer.Option(help="How long the token is good: 30m, 1h, 7d.")] = "1h",
) -> None:
    """Make an OIDC token of the built-in issuer: the file for AWS_WEB_IDENTITY_TOKEN_FILE."""
    gateway = load_config(config_file)
    if not gateway.config.identity.local:
        fail(f"the built-in issuer is off: set `identity: {{local: true}}` in {gateway.file}")
    if unknown := [name for name in group if name not in gateway.config.groups]:
        # No error: a configuration that binds the group may be on its way.
        print(f"sluicegate: {gateway.file} has no group {', '.join(unknown)}", file=sys.stderr)
    try:
        issuer = LocalIssuer.open(gateway.state)
        made = issuer.token(subject, group, duration=int(Duration.parse(duration)))
        # What the gateway would refuse is refused here, where the reason can be mended.
        Verifier([issuer.issuer()]).verify(made, now=time.time())
    except Refused as error:
        fail(error.message)
    except (ValueError, OSError) as error:
        fail(str(error))
    if out is None:
        print(made)
        return
    try:
        private_file.replace(out, made.encode())
    except OSError as error:
        fail(f"{out} can't be written: {error.strerror}")
