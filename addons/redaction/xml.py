"""XML answers (query, ec2, rest-xml) as an lxml tree that is edited in place: prefixes, comments and order stay.

A document type declaration is refused and no entity is resolved. Names are compared without namespace, as botocore's
parser does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lxml import etree

from addons.redaction.masks import Masker, kind_of
from addons.redaction.tree import Place, Unredactable


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """What a place is made of: one element, or the repeated ones of a flattened list or map, or an attribute."""

    elements: list[Any]
    goes: list[Any]  # the elements that go when the place is removed: an entry goes with its value
    attribute: str = ""


class Xml:
    """An XML body. A place's handle is `Nodes`."""

    caseless = False
    edited = False

    def __init__(self, body: bytes, wrapper: str | None, error: bool) -> None:
        body.decode()  # every AWS protocol is UTF-8; another encoding could be read two ways
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, strip_cdata=False)
        top: Any = etree.fromstring(body, parser)
        self._document = top.getroottree()
        info: Any = self._document.docinfo
        self._info = info
        if info.doctype or info.internalDTD is not None:
            raise Unredactable("XML with a document type declaration")
        if (info.encoding or "UTF-8").upper() not in ("UTF-8", "US-ASCII", "ASCII"):
            raise Unredactable("XML in another encoding than UTF-8")
        self._declared = body.lstrip().startswith(b"<?xml")
        if error:
            top = _error_root(top)
        elif wrapper is not None:
            found = [child for child in _children(top) if _name(child) == wrapper]
            if len(found) != 1:
                raise Unredactable(f"no single {wrapper} in the answer")
            top = found[0]
        self.root = Place((), Nodes([top], [top]))

    def dump(self) -> bytes:
        """The document's bytes, with a declaration if it came with one."""
        options: Any = {"encoding": "UTF-8", "xml_declaration": self._declared}
        if self._declared and self._info.standalone is not None:
            options["standalone"] = self._info.standalone
        text: bytes = etree.tostring(self._document, **options)
        return text

    def member(self, place: Place, shape: Any, name: str) -> Iterator[tuple[Place, Any]]:
        """A structure's member by its model name, with its shape; a repeated scalar gives several places."""
        member = shape.members[name]
        wire = _wire_name(member, name)
        parents = place.handle.elements
        if member.serialization.get("xmlAttribute"):
            for parent in parents:
                for attribute in parent.attrib:
                    if etree.QName(attribute).localname == wire.split(":")[-1]:
                        yield place.below(name, Nodes([parent], [], attribute)), member
            return
        found = [child for parent in parents for child in _children(parent) if _name(child) == wire]
        if member.serialization.get("flattened"):
            if found:
                yield place.below(name, Nodes(found, found)), member
            return
        for number, child in enumerate(found):
            below = place.below(name, Nodes([child], [child]))
            yield (below if len(found) == 1 else below.below(number, below.handle)), member

    def elements(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        """A list's elements."""
        for number, child in enumerate(_items(place, shape)):
            yield place.below(number, Nodes([child], [child])), shape.member

    def entries(self, place: Place, shape: Any) -> Iterator[tuple[str, Place, Any]]:
        """A map's values with their keys. botocore's names: "key" and "value" unless the model renames them."""
        key_name = shape.key.serialization.get("name") or "key"
        value_name = shape.value.serialization.get("name") or "value"
        for number, entry in enumerate(_items(place, shape)):
            key = "".join(_text(child) for child in _children(entry) if _name(child) == key_name)
            for child in _children(entry):
                if _name(child) == value_name:
                    yield key, place.below(number, None).below(key, Nodes([child], [entry])), shape.value

    def is_list(self, place: Place) -> bool:
        return False  # only documents ask, and XML has none

    def leaves(self, place: Place, shape: Any) -> Iterator[tuple[Place, Any]]:
        """Every scalar below, elements that the model doesn't know included."""
        nodes: Nodes = place.handle
        match kind_of(shape):
            case "structure":
                known: set[Any] = set()
                for name in shape.members:
                    for below, member in self.member(place, shape, name):
                        known.update(below.handle.elements if not below.handle.attribute else ())
                        yield from self.leaves(below, member)
                for child in _children(nodes.elements[0]):
                    if child not in known:
                        yield from self._unknown(place, child)
            case "list":
                for below, member in self.elements(place, shape):
                    yield from self.leaves(below, member)
            case "map":
                for _, below, value in self.entries(place, shape):
                    yield from self.leaves(below, value)
            case "document":
                yield from self._unknown(place, nodes.elements[0])
            case _:
                yield place, shape

    def _unknown(self, place: Place, element: Any) -> Iterator[tuple[Place, Any]]:
        inner = list(_children(element))
        parent = element.getparent()
        number = 0 if parent is None else parent.index(element)
        below = place.below(_name(element), None).below(number, Nodes([element], [element]))
        for child in inner:
            yield from self._unknown(below, child)
        if not inner and element.text:
            yield below, None

    def mask(self, place: Place, shape: Any, masker: Masker) -> bool:
        """Put a leaf's mask in its place; False: it has to be removed."""
        text = masker.text_leaf(self.value(place).decode(), shape, "iso8601")
        if text is None:
            return False
        self.put(place, text)
        return True

    def put(self, place: Place, text: str) -> None:
        """Let a leaf have another text."""
        nodes: Nodes = place.handle
        element = nodes.elements[0]
        if nodes.attribute:
            element.set(nodes.attribute, text)
            return
        for child in list(element):  # comments too: a text can be cut in two by one
            element.remove(child)
        element.text = text

    def value(self, place: Place) -> bytes:
        """The bytes that a place's fingerprint is made of."""
        nodes: Nodes = place.handle
        if nodes.attribute:
            return str(nodes.elements[0].get(nodes.attribute)).encode()
        return "".join(_text(element) for element in nodes.elements).encode()

    def remove(self, places: list[Place]) -> None:
        """Take places out, an entry with its value."""
        for place in places:
            nodes: Nodes = place.handle
            if nodes.attribute:
                del nodes.elements[0].attrib[nodes.attribute]
            for element in nodes.goes:
                parent = element.getparent()
                if parent is not None:
                    parent.remove(element)


def _children(element: Any) -> Iterator[Any]:
    """Child elements without comments and processing instructions."""
    return (child for child in element if isinstance(child.tag, str))


def _name(element: Any) -> str:
    return str(etree.QName(element).localname)


def _text(element: Any) -> str:
    return str(element.xpath("string()"))


def _items(place: Place, shape: Any) -> list[Any]:
    nodes: Nodes = place.handle
    if shape.serialization.get("flattened"):
        return nodes.elements
    return [child for element in nodes.elements for child in _children(element)]


def _wire_name(member: Any, name: str) -> str:
    """An element's name; a flattened list bears its member's, if that has one (Smithy's xmlFlattened in C2J)."""
    if member.type_name == "list" and member.serialization.get("flattened"):
        inner = member.member.serialization.get("name")
        if inner is not None:
            return str(inner)
    return str(member.serialization.get("name", name))


def _error_root(top: Any) -> Any:
    """The element that holds an error's members: ErrorResponse/Error, ec2's Response/Errors/Error, or S3's Error."""
    for child in _children(top):
        if _name(child) == "Error":
            return child
        if _name(child) == "Errors":
            for inner in _children(child):
                return inner
    return top
