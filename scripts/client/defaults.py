"""The configuration that `sluicegate run` makes where none is named: sensible for one person and their agent."""

import os
from collections.abc import Mapping
from pathlib import Path

STATE_FILE = "ready.json"  # in the state directory: proxy, web, ca and pid of the gateway that runs
GROUP = "agents"
CONFIG = """\
# Made by `sluicegate run`, once; yours to change. `sluicegate check --config {file}` validates it.
listen: 127.0.0.1:0                  # any free port
web: {{listen: "127.0.0.1:0"}}
identity: {{local: true}}              # the built-in issuer
upstream: {{{upstream}}}{comment}
groups:
  {group}:
    policies: [{policies}]
    roles: ["{role}"]
redaction: [secrets]
access_request: "Ask the person who started you."
other_hosts: {{tunnel: all}}           # model APIs, git, package installs: passed through unread
"""


def home(environ: Mapping[str, str]) -> Path:
    """Where such configurations and their state are kept, a directory each."""
    base = environ.get("XDG_STATE_HOME", "")
    # The specification: relative paths are to be ignored.
    root = Path(base) if os.path.isabs(base) else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return root / "sluicegate"


def configuration(
    environ: Mapping[str, str], *, region: str | None, bedrock: bool, endpoint: str | None
) -> tuple[Path, str, bool]:
    """The configuration for the operator's own AWS account; its account; whether it was made now.

    Raises `UpstreamUnavailable` where the operator's credentials can't be used.
    """
    from addons.identity.upstream import Upstream  # here: botocore takes its time, and most runs need none of it

    upstream = Upstream(profile=None, endpoint=endpoint, ca=None, proxy=None, connect_timeout=10, read_timeout=30)
    account = upstream.account()
    name = account + ("-bedrock" if bedrock else "") + (f"-{_safe(endpoint)}" if endpoint else "")
    directory = home(environ) / name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    file = directory / "gateway.yaml"
    text = CONFIG.format(
        file=file,
        upstream=f'endpoint: "{endpoint}"' if endpoint else "",
        comment="" if endpoint else "                         # your AWS credentials, as `aws` finds them",
        group=GROUP,
        policies=", ".join(["agent-default", "bedrock-invoke"] if bedrock else ["agent-default"]),
        role=f"arn:{partition(region)}:iam::{account}:role/agent",
    )
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(text)
    except FileExistsError:
        return file, account, False
    return file, account, True


def partition(region: str | None) -> str:
    """The partition that a region is in, as ARNs name it; AWS's own for one that botocore doesn't know."""
    import botocore.session
    from botocore.exceptions import UnknownRegionError

    try:
        return str(botocore.session.Session().get_partition_for_region(region)) if region else "aws"
    except UnknownRegionError:
        return "aws"


def _safe(endpoint: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in endpoint.split("://")[-1])
