"""Derives the name of a ModelDownload from its ref, for callers that give no name.

The gateway calls this. The name is readable, and equal refs get equal names.
"""

import hashlib
import re

from model_provisioner.domain.refs.model_ref import ModelRef

_MAX_SLUG = 50
_HASH_DIGITS = 8


def object_name(ref: ModelRef) -> str:
    """A DNS label (RFC 1123). Concurrent requests for one model get the same name, so they create one object."""
    text = str(ref)
    words = re.sub(r"[-._ ]gguf\b", " ", ref.words.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:_MAX_SLUG].strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{slug}-{digest}" if slug else f"model-{digest}"
