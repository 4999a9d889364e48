"""Builds `status.model` from a plan, before the bytes are fetched and after.

`controller.reconcile.attempt` calls this.
"""

from dataclasses import replace

from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.modeldownload import DigestSource, Model
from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.plan import Plan


def planned_model(plan: Plan, claim_name: str, store_id: str, wanted_digest: str | None) -> Model:
    """The model of a settled `plan`; `wanted_digest` is the one of the spec."""
    files = plan.records
    return Model(
        revision=plan.revision,
        claim_name=claim_name,
        store_id=store_id,
        path=plan.files[0].path,
        size=format_bytes(plan.total_bytes),
        size_bytes=plan.total_bytes,
        digest=_only_digest(files),
        digest_source=_digest_source(plan, wanted_digest),
        files=files,
        repository=plan.repository,
    )


def published_model(planned: Model, files: tuple[FileRecord, ...], gguf: GGUFSummary) -> Model:
    """`planned` after all files were verified; `files` have the computed digests."""
    return replace(planned, files=files, gguf=gguf, digest=_only_digest(files))


def _digest_source(plan: Plan, wanted_digest: str | None) -> DigestSource:
    if wanted_digest:
        return DigestSource.SPEC
    return DigestSource.SOURCE if all(file.digest for file in plan.files) else DigestSource.COMPUTED


def _only_digest(files: tuple[FileRecord, ...]) -> str | None:
    """The digest of a model of one file. A split model has one digest per file and none of its own."""
    return files[0].digest if len(files) == 1 else None
