"""Replaces the spec of the stored custom resource definition by that of a file. Called by `command`.

It never creates the definition, which Helm does, and never replaces a newer one: another release in the cluster, or a
later version of this one, may need it. The spec is applied on the server's side in the name of Helm, after Helm's apply
was made its only owner (`ownership`). Otherwise fields that are no longer in the file would stay, and a later
`helm install` of Helm 4, which applies definitions, would be refused because of a conflict.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import yaml

from model_provisioner.controller.definition.ownership import API_VERSION, HELM, spec_owned_by_helm
from model_provisioner.domain.annotations import GROUP
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import PLURAL

REVISION = f"{GROUP}/revision"
"""The annotation that orders definitions: a number, which grows with each release that changes the definition."""

_LOG = logging.getLogger(__name__)
_NAME = f"{PLURAL}.{GROUP}"
_PATH = f"/apis/{API_VERSION}/customresourcedefinitions/{_NAME}"
_TOTAL_SECONDS = 90.0
_PAUSE_SECONDS = 1.0


class NotUpdated(Exception):
    """The cluster has an older definition still. The message says why, and what to do next."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What the file says: the spec, and the revision, 0 if it has none."""

    spec: Mapping[str, Any]
    revision: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError if `text` is not the definition of our resource."""
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"the file is not YAML: {error}") from None
        try:
            kind, name, spec = document["kind"], document["metadata"]["name"], document["spec"]
        except (KeyError, TypeError):
            raise ValueError("the file has no object with a kind, a name and a spec") from None
        if (kind, name) != ("CustomResourceDefinition", _NAME) or not isinstance(spec, dict):
            raise ValueError(f"the file has no CustomResourceDefinition {_NAME}")
        return cls(spec, _revision(document))


async def update(
    api: KubeApi,
    definition: Definition,
    seconds: float = _TOTAL_SECONDS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> str:
    """Returns one line that says what was done. Tries again for `seconds` if the API server fails.

    Raises NotUpdated.
    """
    problem = "the API server did not answer"
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await _update_once(api, definition)
                except ApiError as error:
                    if not (error.is_transient or error.is_conflict):
                        raise
                    problem = str(error)
                    _LOG.warning("the definition is not updated yet: %s", error)
                await sleep(_PAUSE_SECONDS)
    except TimeoutError:
        raise NotUpdated(f"{_NAME} is not updated after {seconds:.0f} seconds: {problem}") from None
    except ApiError as error:
        raise NotUpdated(f"{_NAME} is not updated: {error}") from None


async def _update_once(api: KubeApi, definition: Definition) -> str:
    """Raises ApiError; a conflict if another client changed the definition meanwhile."""
    stored = await api.get(_PATH)
    was = _revision(stored)
    if was > definition.revision:
        return f"{_NAME} has revision {was}, which is newer than {definition.revision}: it stays as it is"
    metadata = stored["metadata"]
    # With the resourceVersion in it, the API server refuses the patch (409) if the definition has changed since.
    changes = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {
            "op": "replace",
            "path": "/metadata/managedFields",
            "value": spec_owned_by_helm(metadata.get("managedFields", ())),
        },
    ]
    await api.patch(_PATH, changes, "json")
    wanted = {
        "apiVersion": API_VERSION,
        "kind": "CustomResourceDefinition",
        "metadata": {"name": _NAME, "annotations": {REVISION: str(definition.revision)}},
        "spec": definition.spec,
    }
    await api.patch(_PATH, wanted, "apply", field_manager=HELM)
    return f"{_NAME} is updated from revision {was} to {definition.revision}"


def _revision(document: Mapping[str, Any]) -> int:
    """A text that is no number counts as 0: it was not written by a release."""
    text = str((document["metadata"].get("annotations") or {}).get(REVISION, ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
