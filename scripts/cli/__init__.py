"""The command line of sluicegate: one module a subcommand, imported only when it is asked for."""

import importlib
import importlib.metadata
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

COMMANDS = {  # name: (module, attribute, what `sluicegate --help` says)
    "up": ("up", "up", "Run the gateway and its screen."),
    "run": ("run", "run", "Run a command, such as an agent, behind the gateway."),
    "env": ("env", "env", "Make a script that leads any shell through the gateway."),
    "doctor": ("doctor", "doctor", "Find out what is wrong with a set-up, and how to mend it."),
    "check": ("check", "check", "Validate a configuration without starting anything."),
    "decode": ("decode", "decode", "Show what the gateway would understand of a request."),
    "token": ("token", "token", "Make an OIDC token of the built-in issuer."),
    "approvals": ("approvals", "app", "List, approve and deny held calls."),
    "session": ("session", "app", "List sessions, and revoke them."),
    "freeze": ("freeze", "freeze", "The kill switch: refuse a session, a subject, or everything."),
    "thaw": ("freeze", "thaw", "Lift a freeze."),
    "keys": ("keys", "app", "List and rotate the keys that seal credentials."),
    "credentials": ("credentials", "app", "Sign a person or a container in, for any AWS SDK."),
    "audit": ("audit", "app", "Read and search the audit log."),
    "ca": ("ca", "app", "Show or renew the certificate authority."),
}
SETTINGS: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class Lazy(TyperGroup):
    """Imports a subcommand's module when it is used: `sluicegate --help` must not load mitmproxy."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One subcommand, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, text = COMMANDS[cmd_name]
        if len(sys.argv) == 1 or sys.argv[1] in ("--help", "-h"):
            return one(cmd_name, lambda: None, text)
        found = getattr(importlib.import_module(f"scripts.cli.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            return one(cmd_name, found)
        if len(found.registered_commands) == 1:
            return typer.main.get_command(found)
        holder = typer.Typer(**SETTINGS)
        holder.add_typer(found, name=cmd_name)
        return typer.main.get_group(holder).commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The subcommand that the arguments begin with; where there is none, the error says which there are."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}: choose from {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)


def one(name: str, function: Any, text: str | None = None) -> Any:
    """A function as a command."""
    holder = typer.Typer(**SETTINGS)
    holder.command(name=name, help=text)(function)
    return typer.main.get_command(holder)


app = typer.Typer(cls=Lazy, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}, **SETTINGS)


def version(asked: bool) -> None:
    """Print the version and end, where it was asked for."""
    if asked:
        print(f"sluicegate {importlib.metadata.version('sluicegate')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The gate between AI agents and AWS: every call decoded, decided, held for a person, signed, masked, recorded."""


def main() -> None:
    """Run the command line."""
    app(prog_name="sluicegate")
