"""Form bodies against an input shape: AWS query and EC2 query (Smithy's awsQuery and ec2Query).

Keys are paths: `Filter.1.Value.2`. They are read into a tree first, in which no key may stand twice or be both leaf
and branch, and then every branch must be a member of the shape, with list positions counted from 1 without a gap.
"""

from typing import Any

from addons.wire import models, scalars, unknown
from addons.wire.scalars import MAX_DEPTH, deny, shown

MAX_PARAMETERS = 50_000
# The protocol's own parameters, and those of older signatures: never a member that only is not known yet.
PROTOCOL = (
    *("Action", "Operation", "Version", "ContentType", "Timestamp", "Expires"),
    *("AWSAccessKeyId", "SecurityToken", "Signature", "SignatureMethod", "SignatureVersion"),
)
Tree = dict[str, Any]  # a leaf is a str, a branch a Tree


def parameters(text: str) -> dict[str, str]:
    """A form's fields, each key once."""
    made: dict[str, str] = {}
    for key, value in scalars.split_pairs(text, limit=MAX_PARAMETERS, plus=True):
        if key in made:
            deny(f"the parameter {shown(key)} stands twice")
        made[key] = value or ""
    return made


def tree(fields: dict[str, str]) -> Tree:
    """Fields by the parts of their keys."""
    root: Tree = {}
    for key, value in fields.items():
        node, leaf = root, key
        if "." in key:
            *branches, leaf = key.split(".")
            if len(branches) > MAX_DEPTH:
                deny("a parameter's name is nested too deeply")
            for part in branches:
                node = node.setdefault(part, {})
                if type(node) is not dict:
                    deny(f"the parameter {shown(key)} is both a value and a prefix")
        if leaf in node:
            deny(f"the parameter {shown(key)} is both a value and a prefix")
        node[leaf] = value
    return root


class Forms:
    """The form reader of one service."""

    def __init__(self, ec2: bool) -> None:
        self.ec2 = ec2
        self._memo: dict[str, dict[str, tuple[str, Any]]] = {}

    def read(self, shape: Any, root: Tree) -> dict[str, Any]:
        """All the parameters of an input shape. Raises `Undecodable` for what the shape does not know."""
        return self._structure(shape, root)

    def _members(self, shape: Any) -> dict[str, tuple[str, Any]]:
        if shape.name not in self._memo:
            self._memo[shape.name] = {
                self._name(name, member): (name, member) for name, member in shape.members.items()
            }
        return self._memo[shape.name]

    def _name(self, name: str, shape: Any) -> str:
        traits = shape.serialization
        if self.ec2:
            if "queryName" in traits:
                return str(traits["queryName"])
            found = traits.get("name")
            return found[0].upper() + found[1:] if found else name
        if shape.type_name == "list" and traits.get("flattened") and shape.member.serialization.get("name"):
            return str(shape.member.serialization["name"])
        return str(traits.get("name", name))

    def _map_names(self, shape: Any) -> tuple[str, str]:
        key, value = shape.key.serialization, shape.value.serialization
        return str(key.get("name", "key")), str(value.get("name", "value"))

    def _structure(self, shape: Any, node: Any) -> dict[str, Any]:
        if not isinstance(node, dict):
            deny("a value stands where a structure belongs")
        members = self._members(shape)
        made = {}
        for key, child in node.items():
            if key not in members:
                unknown.member(shape, key, (*members, *PROTOCOL), "parameter")
                continue
            name, member = members[key]
            made[name] = self._value(member, child)
        return made

    def _value(self, shape: Any, node: Any) -> Any:
        kind = shape.type_name
        if kind == "string" and type(node) is str:  # most of all values
            return node
        if kind == "structure":
            return self._structure(shape, node)
        if kind == "list":
            return self._list(shape, node)
        if kind == "map":
            return self._map(shape, node)
        if not isinstance(node, str):
            deny("a structure stands where a value belongs")
        return scalars.from_text(node, shape, "iso8601")

    def _list(self, shape: Any, node: Any) -> list[Any]:
        if node == "" and not self.ec2:
            return []  # query writes an empty list as an empty value
        if not self.ec2 and not shape.serialization.get("flattened"):
            node = _only(node, str(shape.member.serialization.get("name", "member")))
        member = shape.member
        return [self._value(member, child) for child in _numbered(node)]

    def _map(self, shape: Any, node: Any) -> dict[str, Any]:
        if not shape.serialization.get("flattened"):
            node = _only(node, "entry")
        key_name, value_name = self._map_names(shape)
        made: dict[str, Any] = {}
        for child in _numbered(node):
            if not isinstance(child, dict) or child.keys() != {key_name, value_name}:
                deny("a map's entry is not one key and one value")
            key = child[key_name]
            if not isinstance(key, str) or key in made:
                deny("a map holds the same key twice")
            made[key] = self._value(shape.value, child[value_name])
        return made


def _only(node: Any, name: str) -> Any:
    if not isinstance(node, dict) or node.keys() != {name}:
        deny("a list is not numbered as its model says")
    return node[name]


def _numbered(node: Any) -> list[Any]:
    if not isinstance(node, dict):
        deny("a value stands where a list belongs")
    if len(node) == 1 and "1" in node:
        return [node["1"]]
    found = [node.get(str(position)) for position in range(1, len(node) + 1)]
    if None in found:
        deny("a list is not numbered 1, 2, 3 ...")
    return found


@models.PerService
def forms(service: str, ec2: bool) -> Forms:
    """The form reader of one service."""
    return Forms(ec2)
