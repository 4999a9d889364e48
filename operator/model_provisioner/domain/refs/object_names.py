"""The name of the object that a model ref gets when nobody chose one: readable, and the same for the same ref."""

import hashlib
import re

from model_provisioner.domain.refs.refs import HuggingFaceRef, ModelRef

_LONGEST_SLUG = 50
_HASH_DIGITS = 8


def object_name(ref: ModelRef) -> str:
    """A DNS label (RFC 1123), so that concurrent requests for one model meet at one object."""
    text = str(ref)
    words = f"{ref.repo} {ref.selector or ''}" if isinstance(ref, HuggingFaceRef) else ref.path
    words = re.sub(r"[-._ ]gguf\b", " ", words.lower())
    slug = re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:_LONGEST_SLUG].strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{slug}-{digest}" if slug else f"model-{digest}"
