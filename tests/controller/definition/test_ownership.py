"""Whose fields a definition's are, after Helm's apply was made the owner of its spec."""

from typing import Any

from model_provisioner.controller.definition.ownership import spec_owned_by_helm

API = "apiextensions.k8s.io/v1"


def entry(manager: str, operation: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    common = {"manager": manager, "operation": operation, "apiVersion": API, "fieldsType": "FieldsV1"}
    return {**common, "fieldsV1": fields, **more}


NAMES: dict[str, Any] = {"f:spec": {"f:names": {"f:kind": {}}}}
VERSIONS: dict[str, Any] = {"f:spec": {"f:versions": {}, "f:names": {"f:plural": {}}}}
BOTH: dict[str, Any] = {"f:spec": {"f:names": {"f:kind": {}, "f:plural": {}}, "f:versions": {}}}
NOTE: dict[str, Any] = {"f:metadata": {"f:annotations": {"f:note": {}}}}
STATUS = entry("kube-apiserver", "Update", {"f:status": {}}, subresource="status")


def test_what_several_clients_have_of_the_spec_becomes_helms() -> None:
    owned = spec_owned_by_helm([entry("helm", "Update", NAMES), entry("kubectl", "Apply", VERSIONS)])
    assert owned == [entry("helm", "Apply", BOTH)]


def test_the_rest_and_the_status_stay_theirs() -> None:
    owned = spec_owned_by_helm([entry("helm", "Update", {**NAMES, **NOTE}), STATUS])
    assert owned == [entry("helm", "Update", NOTE), STATUS, entry("helm", "Apply", NAMES)]


def test_helms_own_apply_keeps_all_that_it_has() -> None:
    owned = spec_owned_by_helm([entry("helm", "Apply", {**NAMES, **NOTE}), entry("helm", "Update", VERSIONS)])
    assert owned == [entry("helm", "Apply", {**BOTH, **NOTE})]


def test_without_a_writer_helm_owns_nothing() -> None:
    assert spec_owned_by_helm([]) == [entry("helm", "Apply", {})]
