"""XML bodies against a shape (Smithy's restXml): no DTD, no comments, every element known and in its place."""

import re
from typing import Any

from lxml import etree

from addons.wire import scalars, unknown
from addons.wire.scalars import MAX_DEPTH, deny, shown

MAX_TAGS = 200_000  # CompleteMultipartUpload with 10,000 parts has 80,000
_DECLARED = re.compile(rb"<\?xml[^>]*?encoding\s*=\s*[\"']([^\"'>]*)")
# A tag with more quoted values than any model has. None of its parts can hold "<", so that this takes linear time.
_CROWDED = re.compile(rb"""<(?!!)[^<>"']*+(?:"[^"<]*+"[^<>"']*+|'[^'<]*+'[^<>"']*+){9}""")
XSI = "http://www.w3.org/2001/XMLSchema-instance"


def read(body: bytes, shape: Any, root_name: str) -> Any:
    """The value of a payload or of all body members. `root_name` is the element that the model asks for."""
    _check(body)
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        deny("the body is not well-formed XML")
    info: Any = root.getroottree().docinfo
    if info.doctype or info.internalDTD is not None:
        deny("the body has a document type definition")
    if root.getprevious() is not None or root.getnext() is not None:
        deny("the body holds comments or processing instructions")
    if _local(root) != root_name:
        deny(f"the body's root element is not {root_name}")
    namespace = _namespace(root)
    expected = shape.serialization.get("xmlNamespace")
    wanted = expected.get("uri") if isinstance(expected, dict) else expected
    if namespace and wanted and namespace != wanted:
        deny("the body's namespace is not the model's")
    return _Reader(namespace).value(shape, root, 1)


def _check(body: bytes) -> None:
    """What must be known before libxml2 reads the body: the time that it takes grows as the square of an element's
    attributes, and a document in another encoding would hide them."""
    try:
        body.decode()
    except UnicodeDecodeError:
        deny("the body is not UTF-8")
    declared = _DECLARED.match(body)
    if (declared and declared[1].upper() not in (b"UTF-8", b"ASCII", b"US-ASCII")) or b"\0" in body:
        deny("the body is not UTF-8")
    if b"<!DOCTYPE" in body:
        deny("the body has a document type definition")
    if body.count(b"<") > MAX_TAGS:
        deny(f"more than {MAX_TAGS} tags")
    if _CROWDED.search(body):
        deny("an element has too many attributes")


def _local(element: Any) -> str:
    if not isinstance(element.tag, str):
        deny("the body holds comments, entities or processing instructions")
    return str(etree.QName(element).localname)


def _namespace(element: Any) -> str:
    return str(etree.QName(element).namespace or "")


class _Reader:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def value(self, shape: Any, element: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            deny("the body is nested too deeply")
        kind = shape.type_name
        if kind == "structure":
            return self._structure(shape, element, depth)
        if kind == "list":
            children = self._children(element)
            name = shape.member.serialization.get("name", "member")
            if any(_local(child) != name for child in children):
                deny(f"a list holds an element that is not {name}")
            return [self.value(shape.member, child, depth + 1) for child in children]
        if kind == "map":
            entries = self._children(element)
            if any(_local(child) != "entry" for child in entries):
                deny("a map holds an element that is not entry")
            return self._map(shape, entries, depth)
        self._no_attributes(element)
        if len(element):
            deny("an element stands where a value belongs")
        return scalars.from_text(element.text or "", shape, "iso8601")

    def _children(self, element: Any, attributes: bool = False) -> list[Any]:
        if not attributes:
            self._no_attributes(element)
        if (element.text or "").strip(" \t\r\n"):
            deny("text stands between elements")
        for child in element:
            _local(child)
            if _namespace(child) != self.namespace:
                deny("an element is in another namespace")
            if (child.tail or "").strip(" \t\r\n"):
                deny("text stands between elements")
        return list(element)

    def _no_attributes(self, element: Any) -> None:
        if element.attrib:
            deny("an element has an attribute that the model does not know")

    def _leave_out(self, element: Any, depth: int) -> None:
        """Look through an element that the model does not know: it must be as plain as the others."""
        if depth > MAX_DEPTH:
            deny("the body is nested too deeply")
        self._no_attributes(element)
        for child in self._children(element) if len(element) else ():
            self._leave_out(child, depth + 1)

    def _structure(self, shape: Any, element: Any, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        members: dict[str, tuple[str, Any]] = {}
        attributes: dict[str, str] = {}
        for name, member in shape.members.items():
            wire = member.serialization.get("name", name)
            if member.serialization.get("xmlAttribute"):
                prefix, _, local = wire.rpartition(":")
                attributes[f"{{{XSI}}}{local}" if prefix == "xsi" else local] = name
            else:
                # Two of one name (Event and Events of s3 PutBucketNotification, deprecated): the list holds all.
                if wire not in members or member.serialization.get("flattened"):
                    members[wire] = (name, member)
        for key, text in element.attrib.items():
            if str(key) not in attributes:
                deny("an element has an attribute that the model does not know")
            made[attributes[str(key)]] = str(text)
        groups: dict[str, list[Any]] = {}
        for child in self._children(element, attributes=True):
            groups.setdefault(_local(child), []).append(child)
        for wire, children in groups.items():
            if wire not in members:
                unknown.member(shape, wire, members, "element")
                for child in children:
                    self._leave_out(child, depth + 1)
                continue
            name, member = members[wire]
            if member.type_name in ("list", "map") and member.serialization.get("flattened"):
                if member.type_name == "map":
                    made[name] = self._map(member, children, depth + 1)
                else:
                    made[name] = [self.value(member.member, child, depth + 1) for child in children]
            elif len(children) > 1:
                deny(f"the element {shown(wire)} stands twice")
            else:
                made[name] = self.value(member, children[0], depth + 1)
        return made

    def _map(self, shape: Any, entries: list[Any], depth: int) -> dict[str, Any]:
        key_name = shape.key.serialization.get("name", "key")
        value_name = shape.value.serialization.get("name", "value")
        made: dict[str, Any] = {}
        for entry in entries:
            parts = {_local(child): child for child in self._children(entry)}
            if parts.keys() != {key_name, value_name} or len(entry) != 2:
                deny("a map's entry is not one key and one value")
            key = self.value(shape.key, parts[key_name], depth + 2)
            if key in made:
                deny("a map holds the same key twice")
            made[key] = self.value(shape.value, parts[value_name], depth + 2)
        return made
