"""XML of others is parsed without entities."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from geoseg.files.xml import parse_xml


def test_xml_is_parsed_in_the_encoding_that_it_says() -> None:
    root = parse_xml('<?xml version="1.0" encoding="latin-1"?><a><b>\xe9</b></a>'.encode("latin-1"))
    assert (root.tag, root.findtext("b")) == ("a", "\xe9")


@pytest.mark.parametrize("declared", ["", '[<!ENTITY e "eeee">]', ' SYSTEM "file:///etc/passwd"'])
def test_a_doctype_is_refused(declared: str) -> None:
    with pytest.raises(ValueError, match="DOCTYPE"):
        parse_xml(f"<!DOCTYPE a{declared}><a>x</a>".encode())


def test_what_is_no_xml_is_an_error() -> None:
    with pytest.raises(ElementTree.ParseError):
        parse_xml(b"<a>")
