"""SQS's answers in the query protocol, which botocore's model of SQS no longer has (see sqsquery.py).

The model is made over as it was before botocore 1.31.81: every list and map flattened, under the name of what is in
it, and each operation's output inside <OperationResult>.
"""

from functools import cache
from typing import Any

from botocore.model import OperationModel, ServiceModel

from addons.wire import models, sqsquery

_ITEMS = {"QueueUrlList": "QueueUrl", "StringList": "StringListValue", "BinaryList": "BinaryListValue"}
_ENTRIES = {"Attributes": "Attribute", "MessageAttributes": "MessageAttribute", "Tags": "Tag"}  # members that are maps


@cache
def _model() -> ServiceModel:
    data, _ = models.read(sqsquery.SERVICE, "service-2")
    shapes: dict[str, Any] = data["shapes"]
    for name, shape in shapes.items():
        if shape["type"] == "list":
            shape["flattened"] = True
            shape["member"]["locationName"] = _ITEMS.get(name, shape["member"]["shape"])
        elif shape["type"] == "map":
            key, value = ("Key", "Value") if name == "TagMap" else ("Name", "Value")
            shape["flattened"] = True
            shape["key"]["locationName"], shape["value"]["locationName"] = key, value
        for member, reference in shape.get("members", {}).items():
            if member in _ENTRIES and shapes[reference["shape"]]["type"] == "map":
                reference["locationName"] = _ENTRIES[member]
    for name, operation in data["operations"].items():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{name}Result"
    return ServiceModel(data, service_name=sqsquery.SERVICE)


def operation_model(operation: str) -> OperationModel:
    """One operation, as its answers in query are to be read. KeyError: SQS has no such operation."""
    if operation not in _model().operation_names:
        raise KeyError(operation)
    return _model().operation_model(operation)
