"""Which Secrets are used: only those of the general type, whatever keys the others have."""

import base64
from typing import Any

import pytest

from model_provisioner.controller.reconcile.credentials import Secret
from model_provisioner.domain.errors import SecretNotFound
from model_provisioner.domain.network.endpoints import Endpoints
from model_provisioner.domain.refs.refs import parse
from tests.support.ggufs import tiny_gguf
from tests.support.stand import Stand

HUB = Endpoints({"hf": "https://hub.example"})
TOKEN = "hf_canary0123456789"
TYPES: dict[str, dict[str, str]] = {
    "bootstrap.kubernetes.io/token": {"token-id": "abcdef", "token-secret": "0123456789abcdef"},
    "kubernetes.io/tls": {"tls.crt": "", "tls.key": ""},
    "kubernetes.io/ssh-auth": {"ssh-privatekey": "x"},
    "kubernetes.io/basic-auth": {"username": "x", "password": "y"},
    "kubernetes.io/dockercfg": {".dockercfg": "{}"},
    "kubernetes.io/dockerconfigjson": {".dockerconfigjson": "{}"},
    "helm.sh/release.v1": {"release": "x"},
    "cluster.x-k8s.io/secret": {"value": "x"},
    "opaque": {},
}
"""The type, and the keys that the API server requires for it or that its program writes."""


def test_a_secret_that_was_made_for_another_program_is_never_sent(bench: Stand) -> None:
    bench.hub.repository("acme/private", private=True, tokens=frozenset({TOKEN})).add("m.Q4_K_M.gguf", tiny_gguf())
    bench.start_operator()
    for number, (kind, data) in enumerate(TYPES.items()):
        _create(bench, f"secret-{number}", kind, {**data, "token": TOKEN, "HF_TOKEN": TOKEN})
        bench.apply(f"model-{number}", modelRef="hf:acme/private", credentialsSecretRef={"name": f"secret-{number}"})
    for number, kind in enumerate(TYPES):
        bench.until(f"model-{number}", "SecretNotFound")
        message = bench.ready(f"model-{number}")["message"]
        assert f"Secret secret-{number} has the type {kind}, " in message
        assert "name one of type Opaque" in message
    assert not any(request.authorization for request in bench.hub.log)
    _create(bench, "good", "Opaque", {"token": TOKEN})
    bench.apply("good", modelRef="hf:acme/private", credentialsSecretRef={"name": "good"})
    bench.until("good", "Available")


@pytest.mark.parametrize(
    "content", ["two\nlines", "tab\there", "a b", "né", "\x00", "", " ", "\ud83d\ude00", "x" * 4097]
)
def test_a_value_that_is_no_token_is_told_without_showing_it(content: str) -> None:
    encoded = base64.b64encode(content.encode("utf-8", "surrogatepass")).decode()
    with pytest.raises(SecretNotFound, match=r"not a token|no key `token`") as caught:
        _secret({"token": encoded}).credentials(parse("hf:a/b"), HUB)
    if content.strip():
        assert content not in caught.value.message
        assert encoded not in caught.value.message


def test_a_secret_is_not_shown_by_its_repr() -> None:
    encoded = base64.b64encode(TOKEN.encode()).decode()
    secret = _secret({"token": encoded})
    shown = repr(secret) + repr(secret.credentials(parse("hf:a/b"), HUB))
    assert encoded not in shown
    assert TOKEN not in shown


def _secret(data: dict[str, str]) -> Secret:
    document: dict[str, Any] = {"metadata": {"name": "s", "resourceVersion": "1"}, "type": "Opaque", "data": data}
    return Secret("s", document)


def _create(bench: Stand, name: str, kind: str, data: dict[str, str]) -> None:
    metadata = {"name": name, "namespace": bench.namespace}
    bench.cluster.apply(
        [{"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "stringData": data}]
    )
