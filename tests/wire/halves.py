"""AWS in two halves, each for a worker of its own: services by what botocore's clients speak with them."""

from addons.wire import models
from scripts.benchmarks.round_trip import capture
from scripts.benchmarks.round_trip.compare import run


def services(rest: bool) -> list[str]:
    """Those of REST, or all others."""
    return sorted(s for s in models.services() if models.protocols(s)[0].startswith("rest") == rest)


def there_and_back(names: list[str]) -> tuple[int, list[str]]:
    """(requests, problems) of services."""
    count = 0
    found: list[str] = []
    for service in names:
        requests, problems = run(service)
        count, found = count + requests, found + problems
        capture.loader.cache_clear()  # all models at once are a gigabyte
    return count, found
