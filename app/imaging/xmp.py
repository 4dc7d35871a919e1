"""XMP packets: properties removed or corrected, everything else left as it was written.

ISO 16684-1. A property is an attribute or an element, so both are searched.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from contextlib import suppress
from xml.dom.minidom import Attr, Document, Element, Node, parseString
from xml.parsers.expat import ExpatError, ParserCreate

MAX_PACKET = 1 << 18  # bytes; a hostile packet that is larger would be slow to parse
# Tags and attributes, of which each takes some microseconds. In packets of this size, those of
# brush strokes in Lightroom have the most, about 17,000.
MAX_MARKUP = 20_000

_MAX_DEPTH = 100  # of elements in elements; ordinary packets have 10
_MAX_PACKETS = 16  # that are merged; each is compared with those before it

TIFF = "http://ns.adobe.com/tiff/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMLNS = "http://www.w3.org/2000/xmlns/"
_ENCODINGS = (  # by how a packet starts; UTF-32 first, whose mark starts with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_EXTENSION_NOTE = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}"><rdf:Description rdf:about="" '
    'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{guid}"/>'
    "</rdf:RDF></x:xmpmeta>"
)

Property = tuple[str, str]  # namespace, local name


def parse(packet: bytes) -> Document:
    """Parse a packet in UTF-8, UTF-16 or UTF-32.

    Raises:
        ValueError: its encoding is damaged, it has more than MAX_MARKUP tags and attributes, it
            is nested too deeply, or it declares a document type:
            XMP never does, and without one there are no entities to expand.
        xml.parsers.expat.ExpatError: it is not XML.
    """
    encoding = next((name for start, name in _ENCODINGS if packet.startswith(start)), "utf-8")
    text = packet.decode(encoding).rstrip("\0")
    if "<!DOCTYPE" in text:
        raise ValueError("a document type in XMP")
    if text.count("<") + text.count("=") > MAX_MARKUP:
        raise ValueError("a packet of too many tags and attributes")
    _check_depth(text)  # before namespaces are resolved, each of which may hold in all elements
    return parseString(text)  # noqa: S318 - entities are rejected above


def _check_depth(text: str) -> None:
    """Raise ValueError if elements are nested deeper than `_MAX_DEPTH`, ExpatError if not XML."""
    depth = 0

    def begin(_: str, __: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise ValueError("a packet that is nested too deeply")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.Parse(text, True)


def serialise(document: Document) -> bytes:
    """Return the packet in UTF-8, without an XML declaration, as XMP requires."""
    return "".join(node.toxml() for node in document.childNodes).encode()


def merge(packets: list[bytes]) -> bytes | None:
    """Add the properties of further packets to the first.

    A property that an earlier packet has is left out, and so is a packet that cannot be read, or
    with which there would be more than MAX_PACKET bytes.

    Returns:
        The packet, or None if none of them can be read.
    """
    documents, room = [], MAX_PACKET
    for packet in packets[:_MAX_PACKETS]:
        if len(packet) <= room:
            room -= len(packet)
            with suppress(ValueError, ExpatError, RecursionError):
                documents.append(parse(packet))
    if not documents:
        return None
    first, *others = documents
    targets = first.getElementsByTagNameNS(_RDF, "RDF")
    for other in others if targets else ():
        known = {name for it in _descriptions(first) for name in _properties(it)}
        for description in _descriptions(other):
            _declare_prefixes(description)
            copy = first.importNode(description, deep=True)
            _remove_properties(copy, known)
            targets[0].appendChild(copy)
    return serialise(first)


def extension_note(guid: str) -> bytes:
    """Return the packet of a file whose properties are all in an extended packet."""
    return _EXTENSION_NOTE.format(rdf=_RDF, guid=guid).encode()


def read_orientation(packet: bytes | None) -> int | None:
    """Return the orientation 1..8 that a packet of unknown quality states, or None."""
    if packet is None or len(packet) > MAX_PACKET:
        return None
    try:
        document = parse(packet)
    except (ValueError, ExpatError, RecursionError):
        return None
    return next((int(value) for _, value in _orientations(document)), None)


def find_property(packet: bytes, wanted: Property) -> str | None:
    """Return the text of the first property of a name, of a packet of unknown quality, or None."""
    if len(packet) > MAX_PACKET:
        return None
    try:
        nodes = _nodes(parse(packet), wanted)
    except (ValueError, ExpatError, RecursionError):
        return None
    return next((_text(node).strip() for node in nodes), None)


def remove(document: Document, unwanted: Callable[[Property], bool]) -> None:
    """Remove every property, however deeply nested, that is `unwanted`."""
    for element in list(document.getElementsByTagName("*")):
        for attribute in _attributes(element):
            if unwanted(_property(attribute)):
                element.removeAttributeNode(attribute)
        if unwanted(_property(element)) and element.parentNode is not None:
            element.parentNode.removeChild(element)


def set_upright(document: Document) -> None:
    """Set tiff:Orientation to 1 where it has a value that is applied."""
    for node, _ in list(_orientations(document)):
        if isinstance(node, Attr):
            node.value = "1"
        else:
            for child in list(node.childNodes):
                node.removeChild(child)
            node.appendChild(document.createTextNode("1"))


def _orientations(document: Document) -> list[tuple[Attr | Element, str]]:
    """Find each tiff:Orientation with a value of 1..8."""
    nodes = _nodes(document, (TIFF, "Orientation"))
    values = [(node, _text(node).strip()) for node in nodes]
    return [(node, value) for node, value in values if value in tuple("12345678")]


def _nodes(document: Document, wanted: Property) -> list[Attr | Element]:
    nodes: list[Attr | Element] = []
    for element in document.getElementsByTagName("*"):
        nodes += [*_attributes(element), element]
    return [node for node in nodes if _property(node) == wanted]


def _text(node: Attr | Element) -> str:
    if isinstance(node, Attr):
        return str(node.value)
    return "".join(child.data for child in node.childNodes if child.nodeType == Node.TEXT_NODE)


def _descriptions(document: Document) -> list[Element]:
    return list(document.getElementsByTagNameNS(_RDF, "Description"))


def _properties(description: Element) -> dict[Property, Attr | Element]:
    """Return the properties that stand in a description itself."""
    nodes: list[Attr | Element] = [*_attributes(description), *_children(description)]
    named = {_property(node): node for node in nodes}
    return {name: node for name, node in named.items() if name[0] not in (_RDF, _XMLNS, "")}


def _remove_properties(description: Element, unwanted: set[Property]) -> None:
    for name, node in _properties(description).items():
        if name not in unwanted:
            continue
        if isinstance(node, Attr):
            description.removeAttributeNode(node)
        else:
            description.removeChild(node)


def _declare_prefixes(element: Element) -> None:
    """Repeat the prefixes that it uses and its ancestors declare, so that it can be moved.

    Others are left out: a packet of many elements that declares many would grow without measure.
    """
    inside = [element, *element.getElementsByTagName("*")]
    prefixes = dict.fromkeys(node.prefix for it in inside for node in (it, *_attributes(it)))
    for name in (f"xmlns:{prefix}" if prefix else "xmlns" for prefix in prefixes):
        ancestor = element.parentNode
        while isinstance(ancestor, Element) and not element.hasAttribute(name):
            if ancestor.hasAttribute(name):
                element.setAttributeNS(_XMLNS, name, ancestor.getAttribute(name))
            ancestor = ancestor.parentNode


def _children(element: Element) -> list[Element]:
    return [child for child in element.childNodes if isinstance(child, Element)]


def _attributes(element: Element) -> list[Attr]:
    return list(element.attributes.values())


def _property(node: Attr | Element) -> Property:
    return node.namespaceURI or "", node.localName or ""
