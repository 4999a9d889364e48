"""Reads the annotations of a pod that name the models it waits for.

Called by `domain.pods.gated_pod`. Anyone who may create a pod writes these texts, so their length, their number and
every entry are checked here. The chart's admission policies (`templates/_injection.tpl`) read `USE` in the same way, as
far as CEL can: a test compares the two. Which ModelDownload an entry means is decided in `domain.pods.lookup`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from model_provisioner.domain.annotations import MODELS, USE
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.refs.model_ref import ModelRef, shown
from model_provisioner.domain.refs.refs import parse_lenient

MAX_MODELS = 16
_MAX_CHARACTERS = 8 * 1024
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_REF = re.compile(r"[!-~]{1,1024}")
_BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What `trim` of CEL removes: the White_Space of Unicode. `str.strip` removes four control characters more."""

Wanted = str | ModelRef
"""One model that a pod waits for: the name of a ModelDownload, or a ref."""


class UnreadableAnnotation(ValueError):
    """An annotation of a pod can't be read. `reason` is that of the pod's Event."""

    def __init__(self, message: str, reason: str = "InvalidAnnotation") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Problem:
    """What an UnreadableAnnotation says. It is kept with a pod; the exception would keep the whole document."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Request:
    """The models that a pod waits for, in their order. `annotation` is the one that names them."""

    annotation: str
    models: tuple[Wanted, ...]


def read_request(annotations: Mapping[str, str]) -> Request:
    """Raises UnreadableAnnotation, with what to write instead."""
    annotation = USE if USE in annotations else MODELS
    text = annotations.get(annotation, "")
    if not text.strip():
        raise UnreadableAnnotation(
            f"the pod names no model: write the names of ModelDownloads into its annotation {MODELS}, or names and "
            f"refs into {USE}"
        )
    if len(text) > _MAX_CHARACTERS:
        raise UnreadableAnnotation(
            f"the annotation {annotation} has {len(text)} characters, and at most {_MAX_CHARACTERS} are read"
        )
    entries = [entry.strip(_BLANKS) for entry in text.split(",")]
    if len(entries) > MAX_MODELS:
        raise UnreadableAnnotation(
            f"the annotation {annotation} names {len(entries)} models, and a pod can wait for at most {MAX_MODELS}"
        )
    return Request(annotation, tuple(_read(annotation, entry) for entry in entries))


def _read(annotation: str, entry: str) -> Wanted:
    is_ref = ":" in entry or "/" in entry
    if is_ref and annotation == USE:
        return _ref(entry)
    if not _NAME.fullmatch(entry):
        refs = f"; a ref is written into {USE}" if is_ref else ""
        raise UnreadableAnnotation(f"the annotation {annotation}: {shown(entry)} is no name of a ModelDownload{refs}")
    return entry


def _ref(text: str) -> ModelRef:
    if not _REF.fullmatch(text):
        raise UnreadableAnnotation(
            f"the annotation {USE}: {shown(text)} is no ref of at most 1024 ASCII characters without blanks: create a "
            "ModelDownload with the ref, and write its name"
        )
    try:
        return parse_lenient(text)
    except ProvisionError as error:
        raise UnreadableAnnotation(f"the annotation {USE}: {error.message}", error.reason) from None
