"""Files inside pages, as data URIs."""

import base64


def data_uri(content: bytes, media_type: str) -> str:
    """'data:image/png;base64,...' of a file's bytes and its media type."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
