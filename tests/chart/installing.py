"""Creates what the chart renders on a real API server, one object at a time. Called by the chart's tests."""

from deploy.local.api import Api, Document
from tests.chart.rendering import Manifest, Rendering


def create(api: Api, manifest: Manifest, *, dry_run: bool = False) -> Document:
    """Creates one object; with `dry_run` the server does not store it.

    Raises ApiError, also if the server does not know a field.
    """
    query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
    return api.create(path_of(api, manifest).rpartition("/")[0] + query, manifest)


def path_of(api: Api, manifest: Manifest) -> str:
    """The path of the object in the API."""
    metadata = manifest["metadata"]
    return api.resource(manifest["apiVersion"], manifest["kind"]).path(metadata.get("namespace"), metadata["name"])


def install(api: Api, rendering: Rendering, namespace: str) -> Rendering:
    """Creates the objects of `namespace`, except the Deployment; skips those of other namespaces and of the cluster.

    Hooks are left out, too: Helm does not create them when it installs.
    """
    for manifest in rendering.manifests:
        is_here = manifest["metadata"].get("namespace") == namespace
        if is_here and manifest["kind"] != "Deployment" and not is_hook(manifest):
            create(api, manifest)
    return rendering


def is_hook(manifest: Manifest) -> bool:
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})
