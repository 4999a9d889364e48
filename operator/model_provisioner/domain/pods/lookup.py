"""Finds the ModelDownload that a pod means by a name or a ref.

Called by `controller.gates.known_models`, which keeps the ModelDownloads of a namespace by the keys that are made here:
a pod and a ModelDownload concern each other only if they have a key in common. So a change of one object costs no look
at all pods, and a ref none at all objects.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.modeldownload import ModelDownload, Status
from model_provisioner.domain.pods.wanted import Wanted
from model_provisioner.domain.refs.matching import is_from, matching
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.refs.repository import RepositoryRef


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several ready models match one ref: the `names` of their ModelDownloads."""

    names: tuple[str, ...]


Found = ModelDownload | Ambiguous | None


def keys_of_wanted(wanted: Wanted) -> frozenset[str]:
    """A name is no ref: it has no colon."""
    if isinstance(wanted, str):
        return frozenset({wanted})
    own = {str(wanted)}
    return frozenset(own | {f"{wanted.scheme}:{wanted.repository}"} if isinstance(wanted, RepositoryRef) else own)


def keys_of_download(download: ModelDownload) -> frozenset[str]:
    """The name, the ref, and the repository under the name in the ref and under the one that the hub has for it."""
    text = download.spec.model_ref
    keys = {download.name, text}
    try:
        ref = parse(text)
    except ProvisionError:
        return frozenset(keys)
    if isinstance(ref, RepositoryRef):
        canonical = download.status.model.repository if download.status.model else None
        keys |= {f"{ref.scheme}:{repository}" for repository in (ref.repository, canonical) if repository}
    return frozenset(keys)


def find(wanted: Wanted, candidates: Iterable[ModelDownload], claims: frozenset[str]) -> Found:
    """The one of `candidates`, all with a key of `wanted`, that the pod means. `claims` are those that it mounts.

    A ref matches as in `GET /v1/models/local`. Of several downloads, one on a claim of the pod comes first, then one
    that is Ready, then one with a projector, then the oldest.
    """
    if isinstance(wanted, str):
        return next((download for download in candidates if download.name == wanted), None)
    found = [download for download in matching(wanted, candidates) if is_from(None, download)]
    usable = [download for download in found if _is_ready(download) and claim_of(download) in claims]
    if len({download.status.model.path for download in usable if download.status.model}) > 1:
        return Ambiguous(tuple(sorted(download.name for download in usable)))
    return min(found, key=lambda download: _rank(download, claims), default=None)


def claim_of(download: ModelDownload) -> str | None:
    """The claim that the model is on, or will be on; None if the object does not tell yet."""
    return download.status.model.claim_name if download.status.model else download.spec.claim_name


def trimmed(download: ModelDownload) -> ModelDownload:
    """The download without the lists and facts of its files, which no decision about a gate reads."""
    model = download.status.model
    small = replace(model, files=(), digest=None, gguf=None, ollama=None) if model else None
    conditions = tuple(one for one in download.status.conditions if one.type in {"Ready", "Stalled"})
    return replace(download, status=Status(conditions=conditions, progress=download.status.progress, model=small))


def is_same_for_pods(one: ModelDownload, other: ModelDownload) -> bool:
    """Whether two trimmed versions of a download differ in their progress at most."""
    return (one.spec, one.deleting, one.uid, _without_progress(one)) == (
        other.spec,
        other.deleting,
        other.uid,
        _without_progress(other),
    )


def _without_progress(download: ModelDownload) -> Status:
    return replace(download.status, progress=None)


def _is_ready(download: ModelDownload) -> bool:
    return download.status.ready and not download.deleting


def _rank(download: ModelDownload, claims: frozenset[str]) -> tuple[bool, bool, bool, bool, bool, str, str]:
    """The lowest is the one that a pod with `claims` should use."""
    model, claim = download.status.model, claim_of(download)
    return (
        download.deleting,
        claim is not None and claim not in claims,
        not download.status.ready,
        download.status.stalled,
        not (model and model.projector),
        download.creation_time,
        download.name,
    )
