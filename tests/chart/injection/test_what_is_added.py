"""What a pod with the annotation gets, and that nothing of its own is changed."""

from typing import Any

import pytest

from deploy.local.api import Document
from deploy.local.cluster import Cluster
from tests.chart.injection.pods import (
    GATE,
    MOUNT,
    ONE_MODEL,
    VOLUME,
    Served,
    container,
    env,
    mounts,
    named,
    pod,
    variable,
    volumes,
)


def test_a_pod_gets_label_gate_volume_mount_and_variables(served: Served) -> None:
    stored = served.create(pod())
    assert stored["metadata"]["labels"] == {"models.rbee.dev/gate": "true"}
    assert stored["spec"]["schedulingGates"] == [GATE]
    assert (volumes(stored), mounts(stored), env(stored)) == ([VOLUME], [MOUNT], ONE_MODEL)


def test_every_container_and_no_init_container_gets_them(served: Served) -> None:
    stored = served.create(pod(containers=[container("a"), container("b")], initContainers=[container("first")]))
    assert [(mounts(stored, name), env(stored, name)) for name in ("a", "b")] == [([MOUNT], ONE_MODEL)] * 2
    assert (mounts(stored, "first"), env(stored, "first")) == ([], [])


def test_the_annotation_says_which_containers_get_them_also_init_containers(served: Served) -> None:
    wanted = pod(
        annotations={"containers": "b , first"},
        containers=[container("a"), container("b")],
        initContainers=[container("first"), container("second", restartPolicy="Always")],
    )
    stored = served.create(wanted)
    assert {name: mounts(stored, name) for name in ("a", "b", "first", "second")} == {
        "a": [],
        "b": [MOUNT],
        "first": [MOUNT],
        "second": [],
    }
    assert [env(stored, name) for name in ("a", "b", "first", "second")] == [[], ONE_MODEL, ONE_MODEL, []]


NAMES = [
    ("tinyllama, llava-1.5", ["TINYLLAMA", "LLAVA_1_5"]),
    (
        "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M,0.5b",
        ["HF_THEBLOKE_TINYLLAMA_1_1B_CHAT_V1_0_GGUF_Q4_K_M", "0_5B"],
    ),
    (
        "oci://r.example/m@sha256:00ff,s3://b/a'b\"{}~1/:Q8_0",
        ["OCI___R_EXAMPLE_M_SHA256_00FF", "S3___B_A_B____1__Q8_0"],
    ),
]


@pytest.mark.parametrize(("use", "names"), NAMES, ids=[row[0] for row in NAMES])
def test_several_models_have_a_variable_each_with_their_name(served: Served, use: str, names: list[str]) -> None:
    stored = served.create(pod(use))
    assert env(stored) == [variable(f"MODEL_PATH_{name}", f"model-path-{index}") for index, name in enumerate(names)]


def test_a_ref_alone_has_the_short_variables(served: Served) -> None:
    assert env(served.create(pod(" hf:owner/repo:Q4_K_M "))) == ONE_MODEL


OWN_VARIABLES = [
    {"name": "LLAMA_ARG_MODEL", "value": "$(MODEL_PATH)"},
    {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}},
    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a_b.c"}}},
]


def test_new_variables_come_first_because_a_variable_can_use_earlier_ones_only(served: Served) -> None:
    stored = served.create(pod(containers=[container(env=OWN_VARIABLES)]))
    assert env(stored) == [*ONE_MODEL, *OWN_VARIABLES]


@pytest.mark.parametrize(
    "own",
    [
        {"name": "MODEL_PATH", "value": "/elsewhere"},
        {"name": "MODEL_PATH", "valueFrom": {"configMapKeyRef": {"name": "model-catalog", "key": "tinyllama.path"}}},
    ],
    ids=["a value", "a key of the catalog"],
)
def test_a_variable_of_the_container_stays(served: Served, own: Document) -> None:
    stored = served.create(pod(containers=[container(env=[own])]))
    assert env(stored) == [ONE_MODEL[1], own]


@pytest.mark.parametrize("path", ["/models", "/models/"])
def test_a_mount_of_the_container_at_that_path_stays(served: Served, path: str) -> None:
    own = {"name": "cache", "mountPath": path}
    wanted = pod(containers=[container(volumeMounts=[own])], volumes=[{"name": "cache", "emptyDir": {}}])
    stored = served.create(wanted)
    assert mounts(stored) == [own]
    assert volumes(stored) == [{"name": "cache", "emptyDir": {}}, VOLUME]
    assert env(stored) == ONE_MODEL


def test_a_volume_of_the_pod_that_has_the_claim_is_used(served: Served) -> None:
    has = {"name": "weights", "persistentVolumeClaim": {"claimName": "models"}}
    own = {"name": "weights", "mountPath": "/weights", "subPath": "hf"}
    stored = served.create(pod(containers=[container(volumeMounts=[own])], volumes=[has]))
    assert volumes(stored) == [has]
    assert mounts(stored) == [own, {**MOUNT, "name": "weights"}]


TAKEN: list[tuple[list[Document], str]] = [
    ([{"name": "models", "emptyDir": {}}], "models-rbee-dev"),
    ([{"name": "models-rbee-dev", "emptyDir": {}}], "models-rbee-dev-1"),
    (
        [
            {"name": "models-rbee-dev-1", "persistentVolumeClaim": {"claimName": "another"}},
            {"name": "models-rbee-dev", "emptyDir": {}},
        ],
        "models-rbee-dev-2",
    ),
]


@pytest.mark.parametrize(("own", "name"), TAKEN, ids=[row[1] for row in TAKEN])
def test_a_new_volume_has_a_name_that_is_free(served: Served, own: list[Document], name: str) -> None:
    stored = served.create(pod(volumes=own))
    assert volumes(stored) == [*own, {**VOLUME, "name": name}]
    assert mounts(stored) == [{**MOUNT, "name": name}]


def test_annotations_name_the_claim_and_the_path(served: Served) -> None:
    annotations = {"claim": "lake.of-models", "mount-path": "/srv/models_1"}
    stored = served.create(pod(annotations=annotations), served.other)
    assert volumes(stored) == [{**VOLUME, "persistentVolumeClaim": {"claimName": "lake.of-models"}}]
    assert mounts(stored) == [{**MOUNT, "mountPath": "/srv/models_1"}]


def test_own_labels_and_gates_stay(served: Served) -> None:
    wanted = pod(schedulingGates=[{"name": "kueue.x-k8s.io/topology"}])
    wanted["metadata"]["labels"] = {"app": "tiny"}
    stored = served.create(wanted)
    assert stored["metadata"]["labels"] == {"app": "tiny", "models.rbee.dev/gate": "true"}
    assert stored["spec"]["schedulingGates"] == [{"name": "kueue.x-k8s.io/topology"}, GATE]


def test_what_is_there_already_is_not_added_again(served: Served) -> None:
    first = served.create(pod(containers=[container(env=OWN_VARIABLES)]), dry_run=True)
    again = {"metadata": {key: first["metadata"][key] for key in ("annotations", "labels")}, "spec": first["spec"]}
    again["metadata"]["name"] = "again"
    stored = served.create(again)
    assert stored["spec"] == first["spec"]


def test_a_dry_run_shows_what_would_be_stored(served: Served) -> None:
    shown = served.create(pod(), dry_run=True)
    assert shown["spec"]["schedulingGates"] == [GATE]
    assert volumes(shown) == [VOLUME]


@pytest.mark.parametrize("variables", [0, 100])
def test_many_containers_with_many_models_are_within_the_cost_limit(served: Served, variables: int) -> None:
    own = [{"name": f"OWN_{number}", "value": "1"} for number in range(variables)]
    use = ",".join(f"hf:owner/{'x' * 40}-{number}:Q4_K_M" for number in range(16))
    containers = [container(f"c{number}", env=own) for number in range(32)]
    stored = served.create(pod(use, containers=containers), dry_run=True)
    assert {len(env(stored, one["name"])) for one in containers} == {16 + variables}
    assert [mounts(stored, one["name"]) for one in containers] == [[MOUNT]] * 32


def test_limits_of_the_namespace_and_the_token_of_the_account_are_there_before(
    served: Served, cluster: Cluster
) -> None:
    limit = {"type": "Container", "default": {"memory": "1Gi"}, "defaultRequest": {"memory": "1Gi"}}
    path = f"/api/v1/namespaces/{served.other}/limitranges"
    cluster.api.create(path, {"metadata": {"name": "defaults"}, "spec": {"limits": [limit]}})
    try:
        stored = served.create(pod(annotations={"claim": "lake"}), served.other)
    finally:
        cluster.api.delete(f"{path}/defaults")
    server: dict[str, Any] = named(stored, "server")
    assert server["resources"]["limits"] == {"memory": "1Gi"}
    assert [one["mountPath"] for one in server["volumeMounts"]] == [
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "/models",
    ]


def test_a_pod_without_the_token_of_an_account_has_no_volume_before(served: Served) -> None:
    stored = served.create(pod(automountServiceAccountToken=False))
    assert stored["spec"]["volumes"] == [VOLUME]
    assert named(stored, "server")["volumeMounts"] == [MOUNT]
