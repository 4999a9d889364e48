"""What a worker pod may answer: nothing that changes which file is fetched, or that is about another claim."""

from dataclasses import replace

import pytest

from model_provisioner.controller.workers.door.pod_answers import refusal
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Pin, Plan, PlannedFile
from model_provisioner.worker_protocol import messages
from model_provisioner.worker_protocol.messages import Answer, Request

STORE = StoreRef("/models", None)
DIGEST = Digest("a" * 64)
COMMIT = "c" * 40
FILE = PlannedFile(
    "hf/acme/tiny/t.gguf", 100, DIGEST, "hf:acme/tiny:t.gguf", "https://hub.example/t", "https://hub.example", True
)
PLAN = Plan("hf:acme/tiny", COMMIT, (FILE,), "acme/tiny")
SIGNED = replace(PLAN, files=(replace(FILE, url=None, signed=True),))
HOLDER = Holder("uid", "team-a", "tiny")
RECORD = FileRecord(FILE.path, 100, str(DIGEST))
LOCAL = PlannedFile("local/mine.gguf", 5, None, "local:mine.gguf", None)

SETTLE = messages.Settle("1", STORE, HOLDER, PLAN)
FETCH = messages.Fetch("1", STORE, HOLDER, PLAN, 1, None, 1)
CHECK = messages.Check("1", STORE, (RECORD,), "uid")
RESOLVE = messages.Resolve("1", "local:mine.gguf", "")
LOCAL_PLAN = Plan("local:mine.gguf", None, (LOCAL,))


def settled(plan: Plan, store_id: str = "5a0c56ad-3ed2-406f-b01a-71ef2d5f2897", durable: int = 0) -> Answer:
    return messages.Settled("1", store_id, plan, durable)


def published(record: FileRecord, received: int = 1) -> Answer:
    return messages.Published("1", (record,), GGUFSummary(), received)


def with_file(**changes: object) -> Plan:
    return replace(PLAN, files=(replace(FILE, **changes),))  # type: ignore[arg-type]  # each row names a field


GOOD: list[tuple[Request, Answer]] = [
    (SETTLE, settled(PLAN)),
    (SETTLE, settled(with_file(path=f"hf/acme/tiny@{COMMIT[:12]}/t.gguf"), durable=100)),
    (FETCH, messages.Progress("1", 50, 100, 0, 60)),
    (FETCH, messages.VerifyingAnswer("1", 50, 100)),
    (FETCH, messages.Progress("1", 50, 100, 0, 60, copied=60)),
    (FETCH, published(RECORD)),
    (FETCH, messages.FailedAnswer("1", "SourceUnavailable", "down", 5.0)),
    (FETCH, messages.Cancelled("1")),
    (replace_plan := messages.Fetch("1", STORE, HOLDER, SIGNED, 1, None, 1), messages.AddressWanted("1", FILE.path)),
    (CHECK, messages.Checked("1", (FILE.path,))),
    (messages.Identify("1", STORE, ("uid",)), messages.Identified("1", None, ())),
    (messages.Measure("1", STORE, PLAN), messages.Measured("1", 5, None)),
    (messages.Verify("1", STORE, (RECORD,)), messages.Verified("1", (FILE.path,))),
    (messages.Remove("1", STORE, "uid", True), messages.Removed("1", (FILE.path,))),
    (messages.Sweep("1", STORE, (), ()), messages.Swept("1", ("part",), ("uid",))),
    (RESOLVE, messages.ResolvedAnswer("1", LOCAL_PLAN)),
]

BAD: list[tuple[Request, Answer]] = [
    (SETTLE, messages.Measured("1", 0, 0)),
    (SETTLE, messages.Progress("1", 0, 0, 0, 0)),
    (SETTLE, settled(PLAN, store_id="x" * 65)),
    (SETTLE, settled(PLAN, store_id="a\nb")),
    (SETTLE, settled(PLAN, durable=101)),
    (FETCH, messages.Progress("1", 101, 100, 0, 0)),
    (FETCH, messages.Progress("1", 50, 100, 0, 60, copied=61)),
    (FETCH, messages.VerifyingAnswer("1", 50, 100, 60, copied=-1)),
    (FETCH, messages.Progress("1", -1, 100, 0, 0)),
    (FETCH, messages.Progress("1", 0, 100, 0, -5)),
    (FETCH, messages.VerifyingAnswer("1", 0, 2**80)),
    (FETCH, published(replace(RECORD, path="hf/acme/other/t.gguf"))),
    (FETCH, published(replace(RECORD, size_bytes=99))),
    (FETCH, published(replace(RECORD, digest=f"sha256:{'b' * 64}"))),
    (FETCH, published(replace(RECORD, digest=None))),
    (FETCH, messages.AddressWanted("1", FILE.path)),
    (replace_plan, messages.AddressWanted("1", "hf/acme/other/t.gguf")),
    (FETCH, messages.FailedAnswer("1", "RateLimited", "slow", float("inf"))),
    (CHECK, messages.Checked("1", ("hf/acme/other/t.gguf",))),
    (CHECK, messages.Checked("1", (FILE.path, FILE.path))),
    (messages.Identify("1", STORE, ("uid",)), messages.Identified("1", "id", ("another",))),
    (messages.Measure("1", STORE, PLAN), messages.Measured("1", -1, None)),
    (messages.Remove("1", STORE, "uid", True), messages.Removed("1", ("x" * 5000,))),
    (RESOLVE, messages.ResolvedAnswer("1", PLAN)),
    (RESOLVE, messages.ResolvedAnswer("1", replace(LOCAL_PLAN, files=(replace(LOCAL, path="hf/acme/t.gguf"),)))),
    (RESOLVE, messages.ResolvedAnswer("1", replace(LOCAL_PLAN, files=()))),
]


@pytest.mark.parametrize(("request_", "answer"), GOOD)
def test_what_a_worker_answers_is_believed(request_: Request, answer: Answer) -> None:
    assert refusal(request_, answer) is None


@pytest.mark.parametrize(("request_", "answer"), BAD)
def test_what_can_t_be_is_refused(request_: Request, answer: Answer) -> None:
    assert refusal(request_, answer)


@pytest.mark.parametrize(
    "changed",
    [
        with_file(url="https://evil.example/t"),
        with_file(endpoint="https://evil.example"),
        with_file(source="hf:acme/secret:t.gguf"),
        with_file(size=1),
        with_file(digest=None),
        with_file(signed=True),
        with_file(pin=Pin("If-Match", '"x"')),
        with_file(path="hf/acme/other/t.gguf"),
        with_file(path="../t.gguf"),
        replace(PLAN, files=(FILE, FILE)),
        replace(PLAN, files=()),
        replace(PLAN, ref="hf:acme/secret"),
        replace(PLAN, revision="d" * 40),
        replace(PLAN, repository="acme/secret"),
    ],
)
def test_a_plan_comes_back_as_it_was_sent(changed: Plan) -> None:
    """The operator signs addresses of its files with keys that the pod does not have."""
    assert refusal(SETTLE, settled(changed))
