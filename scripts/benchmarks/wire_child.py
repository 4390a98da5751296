"""What is measured of the wire in a process of its own, which has loaded nothing else. Requests come on standard input.

`speed`: microseconds for each request. `memory`: resident bytes once each request has been read. `start`: nothing but
one request, read as soon as can be. A request is a line {"id", "method", "url", "headers", "body"}.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from addons import wire


def request(line: dict[str, Any]) -> wire.HttpRequest:
    """One line's request."""
    host, slash, target = line["url"].removeprefix("https://").partition("/")
    headers = tuple((name, value) for name, value in line["headers"])
    return wire.HttpRequest(line["method"], host, slash + target, headers, base64.b64decode(line["body"]))


def main(what: str, index: str) -> None:
    """Print the result as JSON."""
    wire.load(Path(index))
    requests = {line["id"]: request(line) for line in map(json.loads, sys.stdin)}
    for each in requests.values():
        wire.decode(each)
    found: Any = len(requests)
    if what == "speed":
        from scripts.benchmarks.timing import median_us

        found = {name: median_us(lambda each=each: wire.decode(each)) for name, each in requests.items()}  # type: ignore[misc]
    elif what == "memory":
        from scripts.benchmarks.measure import memory

        found = memory(int(Path("/proc/self").resolve().name))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
