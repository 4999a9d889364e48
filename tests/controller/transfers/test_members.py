"""Which members of a transfer would get the same bytes: those with the same address and version of each file."""

from dataclasses import replace

import pytest

from model_provisioner.controller.transfers.members import Member
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.modeldownload import Spec
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Pin, Plan, PlannedFile
from model_provisioner.worker_protocol.messages import Settled

SIGNED = PlannedFile(
    "s3/h/b/m.gguf", 1, Digest("a" * 64), "s3:b/m.gguf", None, "https://h", signed=True, pin=Pin("If-Match", '"1"')
)


def member(file: PlannedFile) -> Member:
    settled = Settled("1", "store", Plan("s3://b/m.gguf", None, (file,)), 0)
    spec = Spec("s3://b/m.gguf")
    return Member(
        Claim("n", "c"), Holder("u", "n", "m"), settled, None, "", lambda: spec, lambda _: None, lambda _: None
    )


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (SIGNED, True),
        (replace(SIGNED, pin=Pin("If-Match", '"2"')), False),
        (replace(SIGNED, role=FileRole.PROJECTOR), False),
        (replace(SIGNED, url="https://h/b/m.gguf", signed=False), False),
    ],
    ids=["the same", "another version", "another role", "another address"],
)
async def test_bytes_are_wrong_for_members_with_the_same_address_and_version(other: PlannedFile, same: bool) -> None:
    assert other.part_key == SIGNED.part_key, "they share a transfer"
    assert (member(other).addresses == member(SIGNED).addresses) is same
