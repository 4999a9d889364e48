"""The operator's log: one line for every new state of an object, a warning if a user must act."""

import re
from datetime import UTC, datetime

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.reconcile.event_recorder import EventRecorder
from model_provisioner.domain.modeldownload import Condition, ModelDownload, Spec, Status
from model_provisioner.kube.client import KubeApi
from tests.support.ggufs import tiny_gguf
from tests.support.programs import eventually
from tests.support.stand import Stand

MIB = 1024**2
LINE = re.compile(r" (INFO|WARNING) model_provisioner\.controller\.reconcile\.event_recorder: (\S+/\S+): (\w+): (.*)")


def told(bench: Stand, name: str) -> list[tuple[str, str, str]]:
    """The level, the reason and the message of every line about an object."""
    found = LINE.findall(bench.operator_output())
    return [(level, reason, message) for level, subject, reason, message in found if subject.endswith(f"/{name}")]


def last_told(bench: Stand, name: str, reason: str) -> tuple[str, str, str]:
    """The newest line, as soon as it has `reason`. It is logged after the status is written."""
    eventually(lambda: (lines := told(bench, name)) and lines[-1][1] == reason, f"{name}: {reason} is told")
    return told(bench, name)[-1]


def test_every_new_state_is_told_once_and_progress_never(bench: Stand) -> None:
    bench.hub.repository("acme/large").add("l.Q4_K_M.gguf", tiny_gguf(size=6 * MIB))
    bench.start_operator()
    bench.apply("large", modelRef="hf:acme/large", maxBytesPerSecond="1Mi")
    bench.until("large", "Available")
    progress = {one.get("status", {}).get("progress", {}).get("bytes") for one in bench.history.of("large")}
    assert len(progress - {None}) > 2
    assert last_told(bench, "large", "Available") == ("INFO", "Available", bench.ready("large")["message"])
    lines = told(bench, "large")
    reasons = [reason for _, reason, _ in lines]
    assert "Downloading" in reasons
    eventually(lambda: bench.history.reasons("large") == reasons, f"the status had {reasons}, one after the other")
    assert {level for level, _, _ in lines} == {"INFO"}
    assert bench.operator_output().count(f"{bench.namespace}/large: ") == len(lines)


def test_a_stalled_object_is_a_warning_and_a_retry_is_none(bench: Stand) -> None:
    bench.hub.fail(503, None, where="api", path="acme/tiny")
    bench.start_operator()
    bench.apply("absent", modelRef="hf:acme/absent")
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("absent", "SourceNotFound")
    bench.until("tiny", "SourceUnavailable")
    expected = ("WARNING", "SourceNotFound", bench.ready("absent")["message"])
    assert last_told(bench, "absent", "SourceNotFound") == expected
    assert last_told(bench, "tiny", "SourceUnavailable")[0] == "INFO"


async def test_a_message_from_outside_can_not_forge_a_line(
    cluster: Cluster, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = "the source says\n2026-01-01 INFO all is well\x1b[2J\u2028"
    condition = Condition("Ready", "False", "SourceUnavailable", hostile, 1, "")
    subject = ModelDownload(namespace, "tiny", "u", 1, "1", "", False, None, Spec("hf:acme/tiny"), Status())
    api = await KubeApi.connect(cluster.kubeconfig)
    with caplog.at_level("INFO"):
        await EventRecorder(api, "me", lambda: datetime.now(UTC)).transition(subject, Status(conditions=(condition,)))
    await api.close()
    (message,) = caplog.messages
    assert message == f"{namespace}/tiny: SourceUnavailable: the source says 2026-01-01 INFO all is well [2J "
