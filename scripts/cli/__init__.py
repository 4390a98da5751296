"""The command line of sluicegate: one module a subcommand, imported only when it is asked for."""

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {  # name: (module, attribute, what `sluicegate --help` says)
    "up": ("up", "up", "Run the gateway and its screen."),
    "run": ("run", "run", "Run a command, such as an agent, behind the gateway."),
    "doctor": ("doctor", "doctor", "Find out what is wrong with a set-up, and how to mend it."),
    "check": ("check", "check", "Validate a configuration without starting anything."),
    "token": ("token", "token", "Make an OIDC token of the built-in issuer."),
    "approvals": ("approvals", "app", "List, approve and deny held calls."),
    "audit": ("audit", "app", "Read and search the audit log."),
    "ca": ("ca", "app", "Show or renew the certificate authority."),
}


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
        if "--help" in sys.argv[1:2] or "-h" in sys.argv[1:2] or len(sys.argv) == 1:
            return typer.main.get_command(_described(cmd_name, text))
        found = getattr(importlib.import_module(f"scripts.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        settings = {"allow_extra_args": True, "ignore_unknown_options": True} if cmd_name == "run" else {}
        single.command(name=cmd_name, context_settings=settings)(found)
        return typer.main.get_command(single)


def _described(name: str, text: str) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command(name=name, help=text)
    def described() -> None: ...

    return app


app = typer.Typer(
    cls=Lazy, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@app.callback()
def root() -> None:
    """The gate between AI agents and AWS: every call decoded, decided, held for a person, signed, masked, recorded."""


def main() -> None:
    """Run the command line."""
    app(prog_name="sluicegate")
