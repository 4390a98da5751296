"""botocore's models as far as policy needs them: IAM prefixes, operation names and parameters."""

import functools
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import botocore.loaders
from botocore.model import ServiceModel, Shape

DATA = Path(botocore.loaders.Loader.BUILTIN_DATA_PATH)  # never a customer's ~/.aws/models
_NAMES = re.compile(rb'"(endpointPrefix|signingName)"\s*:\s*"([^"]+)"')


def _read(service: str, size: int = -1) -> bytes:
    """The newest model of a service, or its beginning; empty for one that botocore lacks."""
    if not re.fullmatch(r"[a-z0-9-]+", service):
        return b""
    if not (versions := sorted((DATA / service).glob("*/service-2.json*"))):
        return b""
    with gzip.open(versions[-1]) if versions[-1].suffix == ".gz" else versions[-1].open("rb") as file:
        return file.read(size)


@functools.cache
def prefix(service: str) -> str:
    """The IAM prefix of a service's same-named actions: its signing name, else its endpoint prefix.

    Searched for in the model's text: parsing all models takes seconds.
    """
    head = dict(_NAMES.findall(_read(service, 4096)))
    return str((head.get(b"signingName") or head.get(b"endpointPrefix") or service.encode()).decode())


@functools.cache
def services() -> dict[str, tuple[str, ...]]:
    """IAM prefix -> the services that have it."""
    found: dict[str, tuple[str, ...]] = {}
    for folder in sorted(path.name for path in DATA.iterdir() if any(path.glob("*/service-2.json*"))):
        found[prefix(folder)] = (*found.get(prefix(folder), ()), folder)
    return found


@functools.lru_cache(maxsize=512)
def operations(service: str) -> frozenset[str]:
    """The operations of a service, by botocore's names: CloudFront's own end in a date."""
    text = _read(service)
    return frozenset(json.loads(text)["operations"]) if text else frozenset()


@functools.cache
def loader() -> botocore.loaders.Loader:
    """botocore's loader; one, as it remembers the list of services, which takes long to make."""
    return botocore.loaders.Loader(extra_search_paths=[str(DATA)], include_default_search_paths=False)


@functools.lru_cache(maxsize=64)
def service_model(service: str) -> ServiceModel:
    """The newest model of a service. Raises botocore's `UnknownServiceError`."""
    return ServiceModel(loader().load_service_model(service, "service-2"), service_name=service)


def forget() -> None:
    """Drop the models that were loaded: a check reads many that no call will ever need."""
    service_model.cache_clear()
    loader.cache_clear()


def parameters(service: str) -> frozenset[str]:
    """The top-level parameters of all operations of a service."""
    return frozenset(name for shape in _inputs(service) for name in shape.members)


def has_parameter(service: str, path: str) -> bool:
    """Whether any operation of a service has a parameter at `Outer.Inner`."""
    return any(_leads(shape, path.split(".")) for shape in _inputs(service))


def _inputs(service: str) -> Iterator[Shape]:
    model = service_model(service)
    for name in model.operation_names:
        if shape := model.operation_model(name).input_shape:
            yield shape


def _leads(shape: Shape, names: list[str]) -> bool:
    for name in names:
        if shape.type_name == "structure" and name in shape.members:
            shape = shape.members[name]
        elif shape.type_name == "map":
            shape = shape.value
        else:
            return bool(getattr(shape, "is_document_type", False))
    return True
