"""Says which ref is meant by the address of a page of ModelScope, Ollama or Docker Hub, which is no ref itself.

`domain.refs.https` calls it for an address that is no file. Pages of Hugging Face are read in `domain.refs.hub_pages`.
"""

import re

_PAGES = (
    (r"modelscope\.(?:cn|ai)/models/([^/?#]+/[^/?#]+)", "modelscope:"),
    (r"ollama\.com/library/([^/?#]+)", "ollama:"),
    (r"ollama\.com/([^/?#]+/[^/?#]+)", "ollama:"),
    (r"hub\.docker\.com/r/([^/?#]+/[^/?#]+)", "oci://docker.io/"),
)
"""What a page's address looks like, and what stands in a ref before the name in it."""


def meant_by(address: str) -> str | None:
    """The ref of the model that the page at `address` shows. It is not checked. None if it is no such page."""
    for pattern, scheme in _PAGES:
        if match := re.match(rf"https?://(?:www\.)?{pattern}", address):
            return f"{scheme}{match[1]}"
    return None
