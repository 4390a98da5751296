"""`sluicegate ca`: the certificate authority that clients trust."""

import json
from pathlib import Path
from typing import Annotated

import typer

from addons import wire
from certs import authority
from scripts.cli.common import ConfigOption, fail, load_config

app = typer.Typer(no_args_is_help=True, help="Show or renew the certificate authority.")


def directory_of(config_file: Path | None) -> Path:
    """Where a configuration keeps its authority."""
    return load_config(config_file).state / "ca"


@app.command()
def path(config_file: ConfigOption = None) -> None:
    """Print the file that clients trust (AWS_CA_BUNDLE)."""
    file = directory_of(config_file) / authority.ROOT_FILE
    if not file.exists():
        fail(f"there is no {file} yet: the first `sluicegate up` makes it", 1)
    print(file)


@app.command()
def show(
    config_file: ConfigOption = None, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Show the authority: subject, end, fingerprint of the root, and the names that it may speak for."""
    directory = directory_of(config_file)
    try:
        found = authority.show(directory)
    except ValueError as error:
        fail(str(error), 1)
    if as_json:
        fields = {"subject": found.subject, "notAfter": found.not_after.isoformat(), "sha256": found.sha256}
        print(
            json.dumps(fields | {"permitted": found.permitted, "root": str(directory / authority.ROOT_FILE)}, indent=2)
        )
        return
    print(f"root         {directory / authority.ROOT_FILE}")
    print(f"subject      {found.subject}")
    print(f"ends         {found.not_after:%Y-%m-%d %H:%M} UTC")
    print(f"sha256       {found.sha256}")
    print("speaks for   " + "\n             ".join(f"{suffix} and *.{suffix}" for suffix in found.permitted))


@app.command()
def renew(
    config_file: ConfigOption = None,
    forget_old: Annotated[
        bool, typer.Option("--forget-old", help="Trust the new root only: the old key may have leaked.")
    ] = False,
) -> None:
    """Make a new authority; clients that have the new root.pem trust the old one as well, until it ends."""
    directory = directory_of(config_file)
    try:
        made = authority.renew(directory, wire.dns_suffixes(), keep_older=not forget_old)
    except (OSError, ValueError) as error:
        fail(str(error), 1)
    print(f"A new authority is in {directory}; it ends on {made.not_after:%Y-%m-%d}.")
    print(f"1. Give clients {made.root} again (`sluicegate run` does so by itself).")
    print("2. Restart the gateway: until then it goes on with the old one.")
