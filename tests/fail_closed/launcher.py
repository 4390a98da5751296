"""`sluicegate up` with a fault in it: any hook of any step can be made to raise, while it runs.

The file named by `SLUICEGATE_FAULT` says which: JSON {"step", "hook", "raises", "when"}. Each time that it raises, a
line goes to `<file>.fired`. Without the file, or with another step in it, everything works as always.
"""

import asyncio
import functools
import inspect
import json
import os
from pathlib import Path
from typing import Any

from mitmproxy import exceptions
from mitmproxy.hooks import all_hooks
from mitmproxy.proxy import layers, server_hooks  # noqa: F401  they declare their hooks

from addons.gateway import Gateway
from scripts.cli import main

RAISES: dict[str, type[BaseException]] = {
    "Exception": RuntimeError,
    "CancelledError": asyncio.CancelledError,
    "AddonHalt": exceptions.AddonHalt,
    "OptionsError": exceptions.OptionsError,
}


def hooks(step: object) -> list[str]:
    """The hooks of mitmproxy's that a step has."""
    return [name for name in all_hooks if callable(getattr(step, name, None))]


def plan(path: Path, step: str, hook: str, when: str) -> None:
    """Raise, if that is what the file says about this hook and this moment."""
    try:
        fault = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return
    if (fault["step"], fault["hook"], fault["when"]) == (step, hook, when):
        with path.with_suffix(".fired").open("a") as file:
            file.write(f"{step}.{hook}\n")
        raise RAISES[fault["raises"]]("forced")


def breakable(path: Path, step: object, hook: str) -> Any:
    """A hook that raises before its work, or after it, as the file says."""
    work, name = getattr(step, hook), type(step).__name__

    if inspect.iscoroutinefunction(work):

        @functools.wraps(work)
        async def slow(*args: Any) -> None:
            plan(path, name, hook, "before")
            await work(*args)
            plan(path, name, hook, "after")

        return slow

    @functools.wraps(work)
    def quick(*args: Any) -> None:
        plan(path, name, hook, "before")
        work(*args)
        plan(path, name, hook, "after")

    return quick


def break_steps(path: Path) -> None:
    """Make every hook of every step of every gateway breakable."""
    build = Gateway.__init__

    def built(self: Gateway, services: Any) -> None:
        build(self, services)
        for step in self.addons:
            for hook in hooks(step):
                setattr(step, hook, breakable(path, step, hook))

    Gateway.__init__ = built  # type: ignore[method-assign]


if __name__ == "__main__":
    break_steps(Path(os.environ["SLUICEGATE_FAULT"]))
    main()
