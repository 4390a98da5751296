"""`./scripts/bench ROOM`: run one room's benchmark: progress on standard error, the result on standard output."""

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scripts.benchmarks import identity, identity_report, proxy, report, wire, wire_report
from scripts.benchmarks.load import Failed
from scripts.benchmarks.measure import Unmeasurable

EXIT = {"met": 0, "missed": 1, "wrong": 1, "inconclusive": 3}
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Measure a room of sluicegate against its base in one run."""


@app.command("proxy")
def proxy_command(
    json_: Annotated[bool, typer.Option("--json", help="Print every figure as one JSON document.")] = False,
    quick: Annotated[bool, typer.Option(help="Under a minute: fewer and shorter blocks, no cost of steps.")] = False,
) -> None:
    """The whole gateway beside bare mitmdump: throughput, CPU and latency, and what each step costs."""
    scenarios, limit = (proxy.QUICK, proxy.QUICK_LIMIT) if quick else (proxy.FULL, proxy.LIMIT)
    steps = None if quick else proxy.FULL_STEPS
    finish(lambda progress: proxy.run(scenarios, steps, progress, limit), report.as_json, report.show, json_)


@app.command("wire")
def wire_command(
    json_: Annotated[bool, typer.Option("--json", help="Print every figure as one JSON document.")] = False,
    quick: Annotated[bool, typer.Option(help="Under a minute: a sample of services there and back.")] = False,
) -> None:
    """Reading requests: how much of AWS comes out right, how fast, beside LocalStack's parser."""
    finish(lambda progress: wire.run(quick, progress), wire_report.as_json, wire_report.show, json_)


@app.command("identity")
def identity_command(
    json_: Annotated[bool, typer.Option("--json", help="Print every figure as one JSON document.")] = False,
    quick: Annotated[bool, typer.Option(help="A few seconds: fewer blocks.")] = False,
) -> None:
    """Knowing who calls and signing anew, chunk-signed bodies too, beside botocore's signer."""
    finish(lambda progress: identity.run(quick, progress), identity_report.as_json, identity_report.show, json_)


class Judged(Protocol):
    """What a room found, as far as the exit code needs it."""

    @property
    def verdict(self) -> str:
        """One of EXIT's."""


def finish[Found: Judged](
    measure: Callable[[proxy.Progress], Found],
    as_json: Callable[[Found, float], dict[str, Any]],
    show: Callable[[Found, Console, float], None],
    json_: bool,
) -> NoReturn:
    """Measure a room, print what was found, and end with the exit code of its verdict."""
    started = time.monotonic()
    try:
        with bars() as shown:
            found = measure(following(shown))
    except (Failed, Unmeasurable) as error:
        print(f"sluicegate: the bench could not measure: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    seconds = time.monotonic() - started
    if json_:
        print(json.dumps(as_json(found, seconds)))
    else:
        show(found, Console(), seconds)
    sys.exit(EXIT[found.verdict])


def bars() -> Progress:
    """A progress display that is drawn between loads only: a thread of its own would take part in the measurement."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), auto_refresh=False)


def following(shown: Progress) -> proxy.Progress:
    """The room's progress as bars."""

    def phase(title: str, steps: int) -> None:
        if shown.tasks and not shown.tasks[-1].finished:
            last = shown.tasks[-1]
            shown.update(last.id, total=max(last.completed, 1), completed=max(last.completed, 1))
        shown.add_task(title, total=steps or None)
        shown.refresh()

    def step() -> None:
        shown.advance(shown.tasks[-1].id)
        shown.refresh()

    return proxy.Progress(phase, step)


if __name__ == "__main__":
    app(prog_name="bench")
