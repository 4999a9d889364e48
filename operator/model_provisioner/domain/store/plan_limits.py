"""Which plans fit into the status of an object: the limits of the schema, and of the size of an object.

`controller.reconcile.attempt` calls this before anything is written to the volume. Without it, the API server would
refuse the status only after the first bytes were fetched. A test compares the numbers with `crds/modeldownload.yaml`.
What a GGUF header says is bounded where the header is read.
"""

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.store.plan import Plan

MAX_FILES = 4096
MAX_PATH = 2048
MAX_REVISION = 256
MAX_REPOSITORY = 256
MAX_INT64 = 2**63 - 1
MAX_STATUS_BYTES = 1024 * 1024
"""The most bytes that the list of files may take as JSON. etcd takes 1.5 MiB for a whole object, spec included."""

_BYTES_PER_FILE = 160  # the names of the fields, a size and a digest


def check_plan(plan: Plan) -> None:
    """Raises UnsupportedSource, with the limit and what to do, if the status of an object could not name the plan.

    Lengths are in characters, as the API server counts them.
    """
    count = len(plan.files)
    if count > MAX_FILES:
        raise _refused(plan, f"has {count:,} files, and an object can list {MAX_FILES:,}")
    longest = max((file.path for file in plan.files), key=len, default="")
    if len(longest) > MAX_PATH:
        raise _refused(plan, f"has a path of {len(longest):,} characters, and an object can hold {MAX_PATH:,}")
    if sum(len(file.path.encode()) + _BYTES_PER_FILE for file in plan.files) > MAX_STATUS_BYTES:
        raise _refused(plan, f"has {count:,} files whose paths together are too long for an object")
    if not all(0 <= size <= MAX_INT64 for size in (plan.total_bytes, *(file.size for file in plan.files))):
        raise _refused(plan, f"states a size that is not from 0 to {MAX_INT64} bytes")
    texts = (("revision", plan.revision, MAX_REVISION), ("repository", plan.repository, MAX_REPOSITORY))
    for what, text, most in texts:
        if text and len(text) > most:
            raise _refused(plan, f"states a {what} of {len(text):,} characters, and an object can hold {most}")


def _refused(plan: Plan, why: str) -> UnsupportedSource:
    name = plan.ref if len(plan.ref) <= 120 else plan.ref[:117] + "..."
    return UnsupportedSource(f"{name} {why}; choose another file or another repository")
