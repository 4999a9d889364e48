"""What a worker pod may answer to a request. Pure. `worker_pod` ends a pod that answers anything else.

A pod is in a tenant's namespace, and an account that can read its Secret can take its place. So an answer is believed
only as far as it is about the claim of the pod: it may say that a file is there or is not, and never which file is
fetched from where. Sizes, lengths and counts have limits, because an answer goes into a status, the catalog, a metric
or the log.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.lifecycle.limits import MAX_INT32, MAX_MESSAGE, check_plan
from model_provisioner.domain.quantity import MAX_INT64
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import is_local, is_safe, with_commit
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.worker_protocol import messages
from model_provisioner.worker_protocol.messages import Answer, Request

_LONGEST_ID = 64
_MOST_REMOVED = 10_000
_LONGEST_NAME = 4096
_LONGEST_TEXT = 65536  # of a GGUF header; the status has less of it
_LONGEST_PAUSE = 3600.0


def refusal(request: Request, answer: Answer) -> str | None:
    """Why `answer` is no answer to `request`, as a clause; None if it may be one."""
    anyhow = _ANYHOW.get(type(answer))
    if anyhow:
        return anyhow(request, answer)
    expected = _FINAL.get(type(request))
    if expected is None or not isinstance(answer, expected[0]):
        return f"answered {request.op} by {answer.event}"
    return None if expected[1](request, answer) else f"answered {request.op} by what can't be: {answer.event}"


def _failed(_: Request, answer: messages.FailedAnswer) -> str | None:
    pause = answer.retry_after
    if len(answer.message) > MAX_MESSAGE * 4 or len(answer.reason) > _LONGEST_ID:
        return "told an error that is too long"
    if pause is not None and not (math.isfinite(pause) and 0 <= pause <= _LONGEST_PAUSE):
        return "asks for a pause that can't be"
    return None


def _progress(request: Request, answer: messages.Progress) -> str | None:
    if not isinstance(request, messages.Fetch):
        return f"told of progress of {request.op}"
    counts = 0 <= answer.bytes <= answer.total <= MAX_INT64 and 0 <= answer.restarts <= MAX_INT32
    wait = answer.wait is None or (len(answer.wait.origin) <= _LONGEST_NAME and 0 <= answer.wait.seconds <= MAX_INT32)
    return None if counts and wait and _has_counts(answer) else "told of progress that can't be"


def _verifying(request: Request, answer: messages.VerifyingAnswer) -> str | None:
    if not isinstance(request, messages.Fetch | messages.Verify):
        return f"told of progress of {request.op}"
    fits = 0 <= answer.bytes <= answer.total <= MAX_INT64 and _has_counts(answer)
    return None if fits else "told of progress that can't be"


def _wanted(request: Request, answer: messages.AddressWanted) -> str | None:
    signed = isinstance(request, messages.Fetch) and any(
        file.path == answer.path and file.signed for file in request.plan.files
    )
    return None if signed else "asks for the address of a file that has none"


def _cancelled(_request: Request, _answer: Answer) -> str | None:
    return None


def _settled(request: messages.Settle, answer: messages.Settled) -> bool:
    """The plan that was sent, with the paths that it has, or all of them in the directory of its commit."""
    return (
        _is_id(answer.store_id)
        and _is_moved(request.plan, answer.plan)
        and 0 <= answer.durable_bytes <= request.plan.total_bytes
    )


def _is_moved(asked: Plan, settled: Plan) -> bool:
    if replace(settled, files=asked.files) != asked or len(settled.files) != len(asked.files):
        return False
    pairs = list(zip(asked.files, settled.files, strict=True))
    if any(replace(found, path=file.path) != file for file, found in pairs):
        return False
    return all(found.path in {file.path, with_commit(file.path, asked.revision or "")} for file, found in pairs)


def _published(request: messages.Fetch, answer: messages.Published) -> bool:
    planned = {file.path: file for file in request.plan.files}
    if [record.path for record in answer.files] != list(planned) or not _has_counts(answer):
        return False
    texts = (answer.gguf.architecture, answer.gguf.name, answer.gguf.quantization, answer.gguf.license)
    if any(len(text) > _LONGEST_TEXT for text in texts if text):
        return False
    return all(
        record.size_bytes == planned[record.path].size and _has_digest(planned[record.path], record.digest)
        for record in answer.files
    )


def _has_digest(file: PlannedFile, digest: str | None) -> bool:
    try:
        found = Digest.parse(digest or "")
    except ValueError:
        return False
    return file.digest is None or found == file.digest


def _resolved(request: messages.Resolve, answer: messages.ResolvedAnswer) -> bool:
    """Only files of the volume: a pod resolves nothing else."""
    plan = answer.plan
    if not plan.files or (plan.ref, plan.revision, plan.repository) != (request.ref, None, None):
        return False
    try:
        check_plan(plan)
    except UnsupportedSource:
        return False
    digest = Digest.parse(request.digest) if request.digest else None
    return answer.ollama is None and all(_is_on_volume(file, digest) for file in plan.files)


def _is_on_volume(file: PlannedFile, digest: Digest | None) -> bool:
    plain = PlannedFile(file.path, file.size, digest, file.source, None, role=file.role)
    return file == plain and is_safe(file.path) and is_local(file.path) and 0 <= file.size <= MAX_INT64


def _checked(request: messages.Check, answer: messages.Checked) -> bool:
    paths = {file.path for file in request.files}
    return all(_are_among(found, paths) for found in (answer.missing, answer.unattested, answer.corrupt))


def _identified(request: messages.Identify, answer: messages.Identified) -> bool:
    return (answer.store_id is None or _is_id(answer.store_id)) and _are_among(answer.uids, request.uids)


def _recorded(request: messages.RecordReady, answer: messages.RecordedReady) -> bool:
    uids = {holding.holder.uid for holding in request.holdings}
    return _are_among(answer.uids, uids) and _are_among(answer.without, uids)


def _measured(_: messages.Measure, answer: messages.Measured) -> bool:
    return _is_count(answer.needed) and (answer.free is None or _is_count(answer.free))


def _verified(request: messages.Verify, answer: messages.Verified) -> bool:
    return _are_among(answer.wrong, {file.path for file in request.files})


def _removed(_: messages.Remove, answer: messages.Removed) -> bool:
    return _are_short(answer.paths)


def _swept(_: messages.Sweep, answer: messages.Swept) -> bool:
    return _are_short(answer.parts) and _are_short(answer.records)


def _marked(_request: messages.MarkCorrupt, _answer: messages.MarkedCorrupt) -> bool:
    return True


def _surveyed(_: messages.Survey, answer: messages.Surveyed) -> bool:
    usage = answer.usage
    return usage is None or (_is_count(usage.unheld) and (usage.free is None or _is_count(usage.free)))


def _are_among(found: Collection[str], allowed: Collection[str]) -> bool:
    return len(found) <= len(allowed) and set(found) <= set(allowed)


def _are_short(texts: Collection[str]) -> bool:
    return len(texts) <= _MOST_REMOVED and all(len(text) <= _LONGEST_NAME for text in texts)


def _has_counts(answer: messages.Progress | messages.VerifyingAnswer | messages.Published) -> bool:
    return _is_count(answer.received) and 0 <= answer.copied <= answer.received


def _is_count(number: int) -> bool:
    return 0 <= number <= MAX_INT64


def _is_id(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_ID and text.isascii() and text.replace("-", "").isalnum()


_ANYHOW: Mapping[type[Answer], Callable[[Any, Any], str | None]] = {
    messages.FailedAnswer: _failed,
    messages.Cancelled: _cancelled,
    messages.Progress: _progress,
    messages.VerifyingAnswer: _verifying,
    messages.AddressWanted: _wanted,
}
_FINAL: Mapping[type[Request], tuple[type[Answer], Callable[[Any, Any], bool]]] = {
    messages.Resolve: (messages.ResolvedAnswer, _resolved),
    messages.Settle: (messages.Settled, _settled),
    messages.Fetch: (messages.Published, _published),
    messages.RecordReady: (messages.RecordedReady, _recorded),
    messages.Check: (messages.Checked, _checked),
    messages.Identify: (messages.Identified, _identified),
    messages.Measure: (messages.Measured, _measured),
    messages.Verify: (messages.Verified, _verified),
    messages.MarkCorrupt: (messages.MarkedCorrupt, _marked),
    messages.Remove: (messages.Removed, _removed),
    messages.Sweep: (messages.Swept, _swept),
    messages.Survey: (messages.Surveyed, _surveyed),
}
