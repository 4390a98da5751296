"""Reading policy and key ring again while the gateway runs: on SIGHUP, or when one of their files has changed."""

import asyncio
import contextlib
import signal
from pathlib import Path

from addons.services import Services

INTERVAL = 2.0  # seconds between looks at the files
Stamp = tuple[int, int, int]


async def watch(services: Services) -> None:
    """Reload whenever it is asked for, until cancelled. A broken file leaves the old policy in force."""
    asked = asyncio.Event()
    with contextlib.suppress(NotImplementedError, ValueError):  # no signals on this platform, or in this thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    seen, keys = stamps(services), stamp(services.ring.path)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), INTERVAL)
        if (changed := stamp(services.ring.path)) != keys:
            keys = changed
            await services.reread_keys()
        if not asked.is_set() and stamps(services) == seen:
            continue
        asked.clear()
        seen = stamps(services)
        await services.reload()
        # A reload may have named other files; what changed while it ran is looked at again.
        if (now := stamps(services)).keys() != seen.keys():
            seen = now


def stamps(services: Services) -> dict[str, Stamp | None]:
    """Each file of the configuration with its time, size and inode; None where it can't be looked at."""
    gateway = services.rules.gateway
    return {str(path): stamp(path) for path in (gateway.file, *gateway.policies.values(), *gateway.redaction)}


def stamp(path: Path) -> Stamp | None:
    """What changes with a file; None where it can't be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
