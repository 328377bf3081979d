"""Parsing XML that anybody may have written."""

from __future__ import annotations

from xml.etree import ElementTree


def parse_xml(content: bytes) -> ElementTree.Element:
    """Return the root element of an XML text without a DOCTYPE.

    Args:
        content: The text, which says its encoding; the caller limits its size.

    Raises:
        ValueError: There is a DOCTYPE, in which entities could be declared that grow without limit or refer to other
            files.
        ElementTree.ParseError, LookupError: It is not XML, or its encoding is unknown.
    """
    return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Builder()))


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, *_: str | None) -> None:
        raise ValueError("it has a DOCTYPE")
