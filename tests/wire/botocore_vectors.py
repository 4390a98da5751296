"""botocore's protocol vectors: they are in its source distribution only, of the version that is installed here.

pip fetches it once into the tests' cache. Without a network the tests that want it are skipped; in CI they fail.
"""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import botocore
from botocore.model import ServiceModel

from tests import tools

NAME = f"botocore-{botocore.__version__}"
FOLDER = f"{NAME}/tests/unit/protocols/"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Vector:
    """One case: its identity ("rest-json/RestJsonListsSerializeNull"), its own small service, and itself."""

    name: str
    service: str
    operation: str
    protocol: str
    endpoint: str | None
    model: ServiceModel
    case: dict[str, Any]


def _pip() -> list[str]:
    """A pip: of this environment, or of an environment made for it (uv's have none)."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "pip"]
    place = tools.make("pip", lambda place: tools.run(sys.executable, "-m", "venv", str(place)))
    return [str(place / "bin" / "python"), "-m", "pip"]


def folder() -> Path:
    """The vectors, as files. Raises `tools.Missing`."""

    def build(place: Path) -> None:
        quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:")
        tools.run(*_pip(), "download", *quiet, "--dest", str(place), NAME.replace("-", "=="))
        with tarfile.open(place / f"{NAME}.tar.gz") as archive:
            members = [m for m in archive.getmembers() if m.name.startswith(FOLDER)]
            archive.extractall(place, members, filter="data")
        (place / f"{NAME}.tar.gz").unlink()

    return tools.make(f"vectors-{NAME}", build) / FOLDER


@cache
def vectors(direction: str) -> tuple[Vector, ...]:
    """All the cases of "input" or "output"."""
    return tuple(_read(tools.need(folder) / direction))


def _read(directory: Path) -> Iterator[Vector]:
    for file in sorted(directory.glob("*.json")):
        for suite in json.loads(file.read_text()):
            for case in suite["cases"]:
                operation = case["given"]["name"]
                name = f"{file.stem}/{case['id']}"
                model = {key: suite[key] for key in ("metadata", "shapes")} | {"operations": {operation: case["given"]}}
                protocol = suite["metadata"]["protocol"]
                model["metadata"] = {"endpointPrefix": "vectors", "serviceId": "vectors"} | suite["metadata"]
                service = f"{direction_of(directory)} {name}"
                made = ServiceModel(model, service_name=service)
                yield Vector(name, service, operation, protocol, suite.get("clientEndpoint"), made, case)


def direction_of(directory: Path) -> str:
    return directory.name


def typed(value: Any, shape: Any) -> Any:
    """A vector's value as Python has it: text as bytes for a blob, seconds as a time, "NaN" as a number."""
    if value is None or shape is None:
        return value
    match shape.type_name:
        case "structure" if not shape.is_document_type:
            return {k: typed(v, shape.members.get(k)) for k, v in value.items()}
        case "list":
            return [typed(item, shape.member) for item in value]
        case "map":
            return {key: typed(item, shape.value) for key, item in value.items()}
        case "blob":
            return value.encode() if isinstance(value, str) else value
        case "timestamp":
            return EPOCH + timedelta(microseconds=round(value * 1e6))
        case "float" | "double":
            return float(value)
    return value
