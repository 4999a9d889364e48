"""Conversion of the resource between documents and values."""

import json
from typing import Any

import pytest

from model_provisioner.domain.lifecycle.events import Available, Progressed, Started
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ReclaimPolicy, Spec, Status
from model_provisioner.kube.resource import parse, parse_spec, status_document
from tests.support.samples import MODEL, NOW, after

METADATA = {"namespace": "n", "name": "x", "uid": "u", "resourceVersion": "7", "generation": 2}


@pytest.mark.parametrize("events", [(), (Started(MODEL, 0), Progressed(5, 0, 10, 3)), (Available(MODEL),)])
def test_a_status_survives_the_way_through_the_api_server(events: tuple[Any, ...]) -> None:
    status = project(after(*events), 2, NOW, Status())
    document = {"metadata": METADATA, "spec": {"modelRef": "hf:a/b"}, "status": status_document(status)}
    assert parse(document).status == status
    assert "null" not in json.dumps(document)


def test_a_spec_is_read_with_the_spelling_of_the_resource() -> None:
    spec = parse_spec(
        {
            "modelRef": "hf:a/b",
            "credentialsSecretRef": {"name": "s"},
            "destination": {"claimName": "c"},
            "maxBytesPerSecond": "50Mi",
            "reclaimPolicy": "Delete",
            "somethingLater": True,
        }
    )
    assert spec == Spec(
        "hf:a/b",
        secret_name="s",
        claim_name="c",
        max_bytes_per_second=50 * 1024**2,
        reclaim_policy=ReclaimPolicy.DELETE,
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"modelRef": 3}, "spec.modelRef"),
        ({}, "spec.modelRef"),
        ({"modelRef": "hf:a/b", "maxBytesPerSecond": "fast"}, "spec.maxBytesPerSecond"),
        ({"modelRef": "hf:a/b", "reclaimPolicy": "Keep"}, "spec.reclaimPolicy"),
    ],
)
def test_a_wrong_field_is_named(spec: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_spec(spec)


def test_a_status_that_cannot_be_read_is_as_good_as_none() -> None:
    document = {"metadata": METADATA, "spec": {"modelRef": "hf:a/b"}, "status": {"attempts": "many"}}
    assert parse(document).status == Status()
