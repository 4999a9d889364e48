"""Builds `status.model` from a plan, before the bytes are fetched and after.

`controller.reconcile.attempt` calls this.
"""

from dataclasses import replace

from model_provisioner.domain.model_facts import FileRecord, GGUFSummary, OllamaSettings
from model_provisioner.domain.modeldownload import DigestSource, Model, Projector
from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.plan import Plan


def planned_model(
    plan: Plan, claim_name: str, store_id: str, wanted_digest: str | None, ollama: OllamaSettings | None = None
) -> Model:
    """The model of a settled `plan`; `wanted_digest` is the one of the spec."""
    files = plan.records
    projector = Projector(plan.projector.path) if plan.projector else None
    return Model(
        revision=plan.revision,
        claim_name=claim_name,
        store_id=store_id,
        path=plan.files[0].path,
        size=format_bytes(plan.total_bytes),
        size_bytes=plan.total_bytes,
        digest=_only_digest(files, projector),
        digest_source=_digest_source(plan, wanted_digest),
        files=files,
        repository=plan.repository,
        projector=projector,
        ollama=ollama,
    )


def published_model(planned: Model, files: tuple[FileRecord, ...], gguf: GGUFSummary) -> Model:
    """`planned` after all files were verified; `files` have the computed digests."""
    return replace(planned, files=files, gguf=gguf, digest=_only_digest(files, planned.projector))


def _digest_source(plan: Plan, wanted_digest: str | None) -> DigestSource:
    if wanted_digest:
        return DigestSource.SPEC
    return DigestSource.SOURCE if all(file.digest for file in plan.model_files) else DigestSource.COMPUTED


def _only_digest(files: tuple[FileRecord, ...], projector: Projector | None) -> str | None:
    """The digest of a model of one file beside its projector. A split model has one for each file, none of its own."""
    of_model = [file for file in files if projector is None or file.path != projector.path]
    return of_model[0].digest if len(of_model) == 1 else None
