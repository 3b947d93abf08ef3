"""XML that others wrote, parsed without what makes XML dangerous: document types, entities and what they lead to."""

from xml.etree import ElementTree

MOST_BYTES = 64 * 1024**2


def parsed(content: bytes) -> ElementTree.Element:
    """The root element, names of tags without their namespaces.

    Raises:
        ValueError: it is no XML, larger than any metadata, or it declares a document type, whose entities may expand
            without end or lead to other files.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has {len(content):,} bytes, the limit is {MOST_BYTES:,}")
    if b"<!" in content.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        raise ValueError("it declares a document type, which is not followed")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root
