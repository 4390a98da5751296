"""botocore's models, from botocore's own data alone: a service is loaded when it is first used, and dropped again when
many others were.

All models at once are a gigabyte, and an agent may touch every service. So everything that is made from a service's
model (shapes, routes, readers) is kept in one table of that service, and the tables of the services that were used
longest ago are dropped as a whole once the models kept hold more than `BUDGET` bytes of JSON.
"""

import gzip
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

import botocore
import orjson
from botocore.loaders import ExtrasProcessor, Loader
from botocore.model import OperationModel, ServiceModel

DATA = os.path.join(os.path.dirname(botocore.__file__), "data")
BUDGET = 16_000_000  # bytes of JSON, as botocore ships it but unpacked: EC2, the largest, has 4.4 million
MAX_SERVICES = 48

_kept: OrderedDict[str, dict[Any, Any]] = OrderedDict()  # by service, the one used longest ago first
_sizes: dict[str, int] = {}
_lock = threading.RLock()


class PerService[Made]:
    """A function of a service, whose results are kept for as long as the service's model."""

    def __init__(self, make: Callable[..., Made]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __call__(self, service: str, *more: Any) -> Made:
        key = (self, *more)
        try:
            found: Made = _kept[service][key]
        except KeyError:
            found = self._make(service, *more)
            with _lock:
                _kept.setdefault(service, {})[key] = found
        return found

    def cache_clear(self) -> None:
        """Forget all results."""
        with _lock:
            for table in _kept.values():
                for key in [key for key in table if key[0] is self]:
                    del table[key]


def touch(service: str) -> None:
    """Say that a service is in use: it is dropped after others."""
    try:  # no lock: this is one step of the interpreter, taken several times a request
        _kept.move_to_end(service)
    except KeyError:
        return


def forget() -> None:
    """Drop everything that was made from models."""
    with _lock:
        _kept.clear()
        _sizes.clear()


def _keep(service: str, size: int) -> None:
    """Count a model in, and drop those used longest ago."""
    with _lock:
        _sizes[service] = size
        _kept.setdefault(service, {})
        _kept.move_to_end(service)
        while len(_kept) > 1 and (sum(_sizes.values()) > BUDGET or len(_kept) > MAX_SERVICES):
            dropped, _ = _kept.popitem(last=False)
            _sizes.pop(dropped, None)


@cache
def loader() -> Loader:
    """botocore's loader without its search path: ~/.aws/models and AWS_DATA_PATH can't change what a call means."""
    made = Loader(include_default_search_paths=False)
    made.search_paths.append(DATA)
    return made


@cache
def services() -> frozenset[str]:
    """The names of all services that botocore has a model for, "s3", "ec2"."""
    return frozenset(loader().list_available_services("service-2"))


@cache
def partitions() -> list[dict[str, Any]]:
    """The partitions with their regions and DNS suffixes, as botocore's `partitions.json` lists them."""
    found: list[dict[str, Any]] = loader().load_data("partitions")["partitions"]
    return found


def read(service: str, kind: str) -> tuple[dict[str, Any], int]:
    """One of a service's files ("service-2", "endpoint-rule-set-1") in its newest version, and its size in bytes.

    Not kept. Like botocore's loader, it adds the "sdk-extras" that botocore ships. KeyError: no such service or file.
    """
    if service not in services():
        raise KeyError(service)
    folder = os.path.join(DATA, service)
    version = max(v for v in os.listdir(folder) if _file(folder, v, kind))
    path = _file(folder, version, kind)
    if path is None:
        raise KeyError(kind)
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        text = file.read()
    made: dict[str, Any] = orjson.loads(text)
    extras = os.path.join(folder, version, f"{kind}.sdk-extras.json")
    if os.path.exists(extras):
        with open(extras, "rb") as file:
            ExtrasProcessor().process(made, [orjson.loads(file.read())])
    return made, len(text)


def _file(folder: str, version: str, kind: str) -> str | None:
    path = os.path.join(folder, version, f"{kind}.json")
    return next((each for each in (path + ".gz", path) if os.path.exists(each)), None)


@PerService
def service_model(service: str) -> ServiceModel:
    """The newest model of one service. KeyError: botocore has none of that name."""
    data, size = read(service, "service-2")
    _without_documentation(data)
    _keep(service, size)
    return ServiceModel(data, service_name=service)


def _without_documentation(value: Any) -> None:
    """Drop the prose, which is half of a model. A member that is named documentation is an object, and stays."""
    if type(value) is dict:
        if type(value.get("documentation")) is str:
            del value["documentation"]
        value = value.values()
    for item in value:
        if type(item) is dict or type(item) is list:
            _without_documentation(item)


@PerService
def operations(service: str) -> frozenset[str]:
    """The names of a service's operations."""
    return frozenset(service_model(service).operation_names)


@PerService
def operation_model(service: str, operation: str) -> OperationModel:
    """One operation. KeyError: botocore has no such service or operation."""
    model = service_model(service)
    if operation not in model.operation_names:
        raise KeyError(operation)
    return model.operation_model(operation)


@PerService
def protocols(service: str) -> tuple[str, ...]:
    """Every protocol that a service's model lists; `metadata.protocol` is only the first choice."""
    metadata = service_model(service).metadata
    return tuple(metadata.get("protocols") or (metadata["protocol"],))


@PerService
def targets(service: str) -> dict[str, str]:
    """The operations of a JSON or CBOR service, by their X-Amz-Target.

    Three services' prefixes hold dots (com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101 is one). Botocore
    sends the whole, SDKs made from Smithy models the service's name alone, as Smithy's awsJson protocols say.
    """
    model = service_model(service)
    prefix = model.metadata.get("targetPrefix")
    prefixes = {prefix, prefix.rpartition(".")[2]} if prefix else ()
    return {f"{each}.{name}": name for each in prefixes for name in model.operation_names}
