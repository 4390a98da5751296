"""The command line of sluicegate: one module a subcommand."""

import typer

app = typer.Typer(no_args_is_help=True, help="The gate between AI agents and AWS.", pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """The gate between AI agents and AWS."""


def main() -> None:
    """Run the command line."""
    app()
