"""SQS as it was until 2023: the query protocol, which botocore's model of SQS no longer has.

Older SDKs and AWS CLI 2 of Debian 12 speak it, and SQS still answers. The names on the wire are those of the API
reference ("Making query API requests") and of the model that botocore had before 1.31.81: every list and map is
flattened, and stands under the name of one of its items. Only Version 2012-11-05, the present model's, is read.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from addons.wire import forms
from addons.wire.scalars import deny

SERVICE = "sqs"
_MEMBERS = {
    "AWSAccountIds": "AWSAccountId",
    "Actions": "ActionName",
    "AttributeNames": "AttributeName",
    "Attributes": "Attribute",
    "BinaryListValues": "BinaryListValue",
    "MessageAttributeNames": "MessageAttributeName",
    "MessageAttributes": "MessageAttribute",
    "MessageSystemAttributeNames": "MessageSystemAttributeName",
    "MessageSystemAttributes": "MessageSystemAttribute",
    "StringListValues": "StringListValue",
    "TagKeys": "TagKey",
    "Tags": "Tag",
    "tags": "Tag",
}
# A queue's own path, to which older SDKs send its calls.
_QUEUE = re.compile(r"/[0-9]{12}/[A-Za-z0-9_-]{1,80}(?:\.fifo)?", re.ASCII)


class SqsForms(forms.Forms):
    """The form reader of SQS."""

    def __init__(self) -> None:
        super().__init__(ec2=False)

    def _name(self, name: str, shape: Any) -> str:
        if name == "Entries":
            return str(shape.member.name)  # SendMessageBatchRequestEntry and its like
        return _MEMBERS.get(name, name)

    def _map_names(self, shape: Any) -> tuple[str, str]:
        return ("Key", "Value") if shape.name == "TagMap" else ("Name", "Value")


READER = SqsForms()


def with_queue(params: dict[str, Any], shape: Any, host: str, path: str) -> dict[str, Any]:
    """The parameters with the queue that the path names. Path and QueueUrl must not name two queues.

    Raises `Undecodable` for a path that is no queue's, or on an operation that is not about one.
    """
    if path == "/":
        return params
    if not _QUEUE.fullmatch(path.removesuffix("/")):
        deny("a form on another path than / or a queue's")
    if shape is None or "QueueUrl" not in shape.members:
        deny("an operation that is about no queue, on the path of one")
    path = path.removesuffix("/")
    url = params.setdefault("QueueUrl", f"https://{host}{path}")
    try:
        named = urlsplit(url)
    except ValueError:
        deny("QueueUrl is no URL")
    if named.path.removesuffix("/") != path:
        deny("the path and QueueUrl name different queues")
    return params
