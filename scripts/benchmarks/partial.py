"""A gateway with only its first steps, to see what each one costs. For benchmarks: it lets everything through.

    python -m scripts.benchmarks.partial LAST --config gateway.yaml --ready-file ready.json

LAST is the class name of the last step to run, `None` for the dispatcher alone, or `Line` for all steps but the session
recording. Whatever is left out, a call is sent to `upstream.endpoint`; without the signer, as the agent signed it.
"""

import sys
from pathlib import Path
from typing import Any
from unittest import mock

from mitmproxy import http

from addons.gateway import Gateway
from addons.ledger.recording import SessionRecorder
from addons.services import Services
from scripts.cli import serve, up

NOTHING, LINE = "None", "Line"


class Forward:
    """What the signer does beside signing: sends a call to the configured endpoint."""

    def __init__(self, services: Services) -> None:
        endpoint = services.rules.gateway.config.upstream.endpoint
        if not endpoint:
            raise ValueError("a partial gateway needs upstream.endpoint")
        self.endpoint = endpoint

    def request(self, flow: http.HTTPFlow) -> None:
        """Redirect, with the Host header kept."""
        flow.request.scheme = self.endpoint.scheme
        flow.request.data.host, flow.request.data.port = self.endpoint.address


class Partial(Gateway):
    """The first steps of the gateway, up to `last`."""

    def __init__(self, services: Services, last: str) -> None:
        super().__init__(services)
        names = [type(step).__name__ for step in self.addons]
        if last == LINE:
            services.recorder = Unrecorded(services.recorder.directory)
        else:
            steps = names.index(last) + 1 if last != NOTHING else 0
            runs_them = self.addons[names.index("Arrival") :] if steps else []
            self.addons = self.addons[:steps] + runs_them
        if "Sign" not in (type(step).__name__ for step in self.addons):
            self.addons.append(Forward(services))


class Unrecorded(SessionRecorder):
    """Records nothing."""

    def append(self, *_: Any, **__: Any) -> str:
        """Nothing is written."""
        return ""


def main() -> None:
    """Run `sluicegate up` with a partial gateway in place of the whole one."""
    last, _, config, _, ready = sys.argv[1:]
    with mock.patch.object(serve, "Gateway", lambda services: Partial(services, last)):
        up.up(Path(config), Path(ready))


if __name__ == "__main__":
    main()
