"""botocore's models, from botocore's own data alone: a service is loaded when it is first used, and kept."""

import os
from functools import cache, lru_cache
from typing import Any

import botocore
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

DATA = os.path.join(os.path.dirname(botocore.__file__), "data")


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


@lru_cache(maxsize=256)
def service_model(service: str) -> ServiceModel:
    """The newest model of one service. KeyError: botocore has none of that name."""
    if service not in services():
        raise KeyError(service)
    return ServiceModel(loader().load_service_model(service, "service-2"), service_name=service)


@lru_cache(maxsize=4096)
def operation_model(service: str, operation: str) -> OperationModel:
    """One operation. KeyError: botocore has no such service or operation."""
    model = service_model(service)
    if operation not in model.operation_names:
        raise KeyError(operation)
    return model.operation_model(operation)


@cache
def protocols(service: str) -> tuple[str, ...]:
    """Every protocol that a service's model lists; `metadata.protocol` is only the first choice."""
    metadata = service_model(service).metadata
    return tuple(metadata.get("protocols") or (metadata["protocol"],))


@cache
def targets(service: str) -> dict[str, str]:
    """The operations of a JSON or CBOR service, by their X-Amz-Target."""
    model = service_model(service)
    prefix = model.metadata.get("targetPrefix")
    return {f"{prefix}.{name}": name for name in model.operation_names} if prefix else {}
