"""Downloads and models as JSON documents of the HTTP API."""

from typing import Any

from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.stream import messages


def download_view(download: ModelDownload, queue_position: int | None) -> dict[str, Any]:
    """One download: what the stream says of it, and the message for people."""
    ready = download.status.condition("Ready")
    data = messages(download, queue_position)[0].data
    return {**data, "message": ready.message if ready else ""}


def model_view(download: ModelDownload, model: Model) -> dict[str, Any]:
    """One ready model: where it is and what it is."""
    gguf = model.gguf
    return {
        "model_ref": download.spec.model_ref,
        "download_id": download.uid,
        "namespace": download.namespace,
        "name": download.name,
        "claim": model.claim_name,
        "path": model.path,
        "files": [{"path": file.path, "size_bytes": file.size_bytes, "digest": file.digest} for file in model.files],
        "size_bytes": model.size_bytes,
        "digest": model.digest,
        "revision": model.revision,
        "architecture": gguf.architecture if gguf else None,
        "quantization": gguf.quantization if gguf else None,
    }
