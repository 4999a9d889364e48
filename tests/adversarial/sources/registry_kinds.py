"""An OCI registry with tokens, and the Ollama registry, that answer well; what their wrong answers are made of."""

from collections.abc import Callable
from dataclasses import replace

from aiohttp import web

from model_provisioner.domain.credentials.credentials import Credentials
from tests.adversarial.sources.world import (
    CANARY,
    MODEL,
    Answer,
    Behaviour,
    Kind,
    answer_of,
    document,
    meanwhile,
    ranged,
)
from tests.support import registry
from tests.support.registry import GGUF, descriptor

TOKEN = f"token-{CANARY}"
KINDS = {"manifests": "manifest", "blobs": "blob", "token": "token"}
OLLAMA_MODEL = "application/vnd.ollama.image.model"
CONFIG = descriptor(b"{}", "application/vnd.docker.container.image.v1+json")


def question(request: web.Request) -> str:
    parts = request.path.strip("/").split("/")
    return next((KINDS[part] for part in parts if part in KINDS), "")


def challenge(realm: str = "{home}/token", scope: str = "x") -> Answer:
    return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="{scope}"'})


def artifact(**layer: object) -> Answer:
    """The manifest of an artifact of one layer, with these fields."""
    return manifest([{**descriptor(MODEL, GGUF), **layer}])


def manifest(layers: list[registry.Document], media_type: str = registry.MANIFEST) -> Answer:
    return Answer(200, {"Content-Type": media_type}, registry.manifest(layers, CONFIG, mediaType=media_type))


def named(annotation: str, name: str) -> Answer:
    return artifact(annotations={annotation: name})


def indexed(*children: registry.Document) -> Answer:
    return Answer(200, {"Content-Type": registry.INDEX}, registry.index(children))


def registry_of(good_manifest: Answer) -> Callable[[str, web.Request], Answer]:
    """What a registry with tokens answers."""

    def good(asked: str, request: web.Request) -> Answer:
        if asked == "token":
            return document({"token": TOKEN})
        return with_token(ranged if asked == "blob" else good_manifest)(request)

    return good


def with_token(behaviour: Behaviour | Answer) -> Behaviour:
    """Asks for a token first."""

    def answer(request: web.Request) -> Answer:
        sent = request.headers.get("Authorization")
        return answer_of(behaviour, request) if sent == f"Bearer {TOKEN}" else challenge()

    return answer


def blob(wrong: Behaviour | Answer) -> Behaviour:
    """Right until the file is known to be there, then `wrong`; with a token."""
    return with_token(meanwhile(wrong))


OCI = Kind(
    "oci",
    "oci://{host}/team/tiny:v1",
    lambda home: Credentials(None, (home,), username="reader", password=CANARY),
    question,
    registry_of(artifact()),
)
OLLAMA_MANIFEST = manifest([descriptor(MODEL, OLLAMA_MODEL)], registry.DOCKER_MANIFEST)
OLLAMA = replace(
    OCI,
    name="ollama",
    ref="ollama:tiny:1b",
    good=registry_of(OLLAMA_MANIFEST),
    endpoint=True,
)
