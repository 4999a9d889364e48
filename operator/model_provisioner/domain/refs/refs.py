"""Parses model refs, the strings that name models, and prints them in one canonical spelling.

The resource, the HTTP API, the event stream, the catalog and the command line all use this parser. `parse` accepts only
the canonical spelling; `parse_lenient` also accepts what users paste (`hf://…`, the URL of a hub page). What a page
shows is read in `domain.refs.hub_pages`, the grammar of each kind of ref is in a file of its own. Which files a ref
means is decided in `domain.model_files.selection`.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from model_provisioner.domain.errors import InvalidRef
from model_provisioner.domain.refs.https import HttpsRef
from model_provisioner.domain.refs.hub_pages import read_page
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.model_ref import ModelRef, shown
from model_provisioner.domain.refs.modelscope import ModelScopeRef
from model_provisioner.domain.refs.oci import OciRef
from model_provisioner.domain.refs.ollama import OllamaRef
from model_provisioner.domain.refs.s3 import S3Ref

KINDS: tuple[type[ModelRef], ...] = (HuggingFaceRef, ModelScopeRef, HttpsRef, S3Ref, OciRef, OllamaRef, LocalRef)
"""Every kind of ref."""
BY_SCHEME: Mapping[str, type[ModelRef]] = MappingProxyType({scheme: kind for kind in KINDS for scheme in kind.schemes})
ENDPOINTS: Mapping[str, str] = MappingProxyType(
    {kind.schemes[0]: kind.default_endpoint for kind in KINDS if kind.default_endpoint}
)
"""The sources that have an endpoint, by scheme, and the one of each unless the administrator names another."""


def parse(text: str) -> ModelRef:
    """Parses a ref in its canonical spelling: `str(parse(text)) == text`.

    Raises InvalidRef, with what to write instead.
    """
    scheme = text.partition(":")[0]
    kind = BY_SCHEME.get(scheme)
    if kind is None or scheme == text:
        raise _misspelled(text)
    if kind is HuggingFaceRef and text.startswith("hf://"):
        raise InvalidRef(f"{shown(text)} must be written without //: write {parse('hf:' + text.removeprefix('hf://'))}")
    if kind is HttpsRef and (page := read_page(text)):
        raise InvalidRef(f"{shown(text)} is the address of a page: write hf:{page.repository}")
    return kind.parse(text)


def parse_lenient(text: str) -> ModelRef:
    """Like `parse`, and accepts `hf://owner/repo…` and URLs of Hugging Face pages too. Raises the same errors."""
    text = text.strip()
    if text.startswith("hf://"):
        return parse("hf:" + text.removeprefix("hf://"))
    page = read_page(text)
    if page is not None:
        return HuggingFaceRef.of(text, page.repository, page.revision, page.selector)
    return parse(text)


def _misspelled(text: str) -> InvalidRef:
    *others, last = (re.split(r"[<[]", kind.spelling)[0] for kind in KINDS)
    return InvalidRef(
        f"{shown(text)} is not a model ref: it must start with {', '.join(others)} or {last}, such as "
        "hf:<owner>/<repo>:Q4_K_M"
    )
