"""LocalStack's router and parser on the same requests, in the environment that `wire.localstack` made for it.

Prints {"speed": {id: microseconds}, "right": those of whose id ("service:Operation") it says the same}. A werkzeug
request remembers what was read of it, so each call gets a fresh one, which is made outside the measured time.
"""

import base64
import json
import sys
import time
from pathlib import Path
from statistics import median
from urllib.parse import unquote, urlsplit

from localstack.aws.protocol.parser import create_parser  # type: ignore[import-not-found]
from localstack.aws.protocol.service_router import (  # type: ignore[import-not-found]
    determine_aws_protocol,
    determine_aws_service_model,
)
from localstack.http import Request  # type: ignore[import-not-found]
from werkzeug.datastructures import Headers

sys.path.insert(0, str(Path(__file__).resolve().parent))
from timing import BLOCKS  # type: ignore[import-not-found]

EACH = 40  # calls of a block


def made(line: dict) -> Request:  # type: ignore[type-arg]
    """One request as LocalStack's own server makes it."""
    parts = urlsplit(line["url"])
    headers = [(name, value) for name, value in line["headers"] if name.lower() not in ("host", "expect")]
    return Request(
        method=line["method"],
        path=unquote(parts.path) or "/",
        raw_path=parts.path or "/",
        query_string=parts.query,
        headers=Headers([("Host", parts.netloc), *headers]),
        body=base64.b64decode(line["body"]),
    )


def read(request: Request) -> tuple[str, str]:
    """(service, operation), and the parameters, which are not looked at."""
    service = determine_aws_service_model(request)
    operation, _ = create_parser(service, determine_aws_protocol(request, service)).parse(request)
    return service.service_name, operation.name


def speed(line: dict) -> float:  # type: ignore[type-arg]
    """Microseconds of CPU time for one request: the median of blocks."""
    times = []
    for _ in range(BLOCKS):
        fresh = [made(line) for _ in range(EACH)]
        start = time.thread_time_ns()
        for request in fresh:
            read(request)
        times.append((time.thread_time_ns() - start) / EACH / 1e3)
    return median(times)


def main() -> None:
    """Print the result as JSON."""
    lines = [json.loads(line) for line in sys.stdin]
    right, times = [], {}
    for line in lines:
        try:
            found = ":".join(read(made(line)))
        except Exception as error:  # whatever it can't read
            found = type(error).__name__
        if found == line["id"]:
            right.append(line["id"])
        if line.get("timed"):
            times[line["id"]] = speed(line)
    print(json.dumps({"speed": times, "right": right}))


if __name__ == "__main__":
    main()
