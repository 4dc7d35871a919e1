"""XMP packets: properties removed or corrected, everything else left as it was written.

ISO 16684-1. A property stands as an attribute or as an element, so both are looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from xml.dom.minidom import Attr, Document, Element, Node, parseString

TIFF = "http://ns.adobe.com/tiff/1.0/"

Property = tuple[str, str]  # namespace, local name


def parse(packet: bytes) -> Document:
    """Parse a packet.

    Raises:
        ValueError: it is not UTF-8, or it declares a document type: XMP never does, and
            without one there are no entities to expand.
        xml.parsers.expat.ExpatError: it is not XML.
    """
    text = packet.rstrip(b"\0").decode()
    if "<!DOCTYPE" in text:
        raise ValueError("a document type in XMP")
    return parseString(text)  # noqa: S318 - entities are refused above


def serialise(document: Document) -> bytes:
    """The packet without an XML declaration, as XMP wants it."""
    return "".join(node.toxml() for node in document.childNodes).encode()


def remove(document: Document, unwanted: Callable[[Property], bool]) -> None:
    """Remove every property, however deeply nested, that is `unwanted`."""
    for element in list(document.getElementsByTagName("*")):
        for attribute in _attributes(element):
            if unwanted(_property(attribute)):
                element.removeAttributeNode(attribute)
        if unwanted(_property(element)) and element.parentNode is not None:
            element.parentNode.removeChild(element)


def set_upright(document: Document) -> None:
    """Set tiff:Orientation to 1 where it is given."""
    orientation = (TIFF, "Orientation")
    for element in document.getElementsByTagName("*"):
        for attribute in _attributes(element):
            if _property(attribute) == orientation:
                attribute.value = "1"
        if _property(element) == orientation:
            for child in list(element.childNodes):
                element.removeChild(child)
            element.appendChild(document.createTextNode("1"))


def _attributes(element: Element) -> list[Attr]:
    return list(element.attributes.values())


def _property(node: Node) -> Property:
    return node.namespaceURI or "", node.localName or ""
