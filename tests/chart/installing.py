"""Creates what the chart renders on a real API server, one object at a time. Called by the chart's tests."""

from deploy.local.api import Api, Document
from tests.chart.rendering import Manifest, Rendering


def create(api: Api, manifest: Manifest, *, dry_run: bool = False) -> Document:
    """Create one object, or have the server do everything but store it.

    Raises ApiError, also for a field that the server does not know.
    """
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
    return api.create(path_of(api, manifest).rpartition("/")[0] + query, manifest)


def path_of(api: Api, manifest: Manifest) -> str:
    """The path of the object itself."""
    metadata = manifest["metadata"]
    return api.resource(manifest["apiVersion"], manifest["kind"]).path(metadata.get("namespace"), metadata["name"])


def install(api: Api, rendering: Rendering, namespace: str) -> Rendering:
    """Creates what the pod and its rights need in `namespace`, and leaves out the Deployment and what is elsewhere."""
    for manifest in rendering.manifests:
        if manifest["metadata"].get("namespace") == namespace and manifest["kind"] != "Deployment":
            create(api, manifest)
    return rendering
