"""Which name each model gets in the view of Ollama, and what does not belong there any more."""

from collections.abc import Mapping

from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.views.ollama_image import FoundManifest
from model_provisioner.domain.views.ollama_layout import blob_name, named, taken_over, unused_blobs, unused_manifests
from model_provisioner.domain.views.ollama_model import FileLayer, TextLayer, ViewedModel
from model_provisioner.domain.views.ollama_names import OllamaName

CLAIM, OTHER_CLAIM = "models/models", "other/models"
WANTED, OBJECT, WHOLE = (OllamaName("h", "n", part, "t") for part in ("wanted", "object", "whole"))
DIGEST, OTHER_DIGEST = Digest("a" * 64), Digest("b" * 64)


def model(owner: str, digest: Digest = DIGEST, *names: OllamaName) -> ViewedModel:
    layer = FileLayer("model", FileRecord(f"hf/{owner}.gguf", 1, str(digest)))
    return ViewedModel(owner, names or (WANTED, OBJECT, WHOLE), TextLayer("config", "{}"), (layer,))


def owners(*models: ViewedModel, found: Mapping[OllamaName, FoundManifest] | None = None) -> dict[str, str]:
    return {name.model: one.owner for name, one in named(models, found or {}, CLAIM).by_name.items()}


def test_objects_with_one_content_share_a_name() -> None:
    assert owners(model("models/b"), model("models/a")) == {"wanted": "models/a"}


def test_of_different_contents_the_first_by_name_has_it_whatever_the_order() -> None:
    first, second = model("models/a"), model("models/b", OTHER_DIGEST)
    assert owners(first, second) == owners(second, first) == {"wanted": "models/a", "object": "models/b"}


def test_a_name_differs_by_more_than_its_case() -> None:
    shouted = OllamaName("h", "n", "WANTED", "t")
    assert owners(model("models/a"), model("models/b", OTHER_DIGEST, shouted, OBJECT)) == {
        "wanted": "models/a",
        "object": "models/b",
    }


def test_a_name_of_another_claim_or_program_is_taken_and_an_own_one_is_not() -> None:
    found = {
        WANTED: FoundManifest(OTHER_CLAIM, "other/x", frozenset()),
        OBJECT: FoundManifest(None, None, frozenset()),
        WHOLE: FoundManifest(CLAIM, "models/gone", frozenset()),
    }
    assert owners(model("models/a"), found=found) == {"whole": "models/a"}


def test_a_model_without_a_free_name_is_left_out_with_a_message() -> None:
    found = {WANTED: FoundManifest(None, None, frozenset())}
    result = named([model("models/a", DIGEST, WANTED)], found, CLAIM)
    assert not result.by_name
    assert result.left_out == ("models/a: every name that it can have is in use: h/n/wanted:t",)


def test_manifests_of_this_claim_that_are_not_wanted_are_unused() -> None:
    found = {
        WANTED: FoundManifest(CLAIM, "models/a", frozenset()),
        OBJECT: FoundManifest(CLAIM, "models/gone", frozenset()),
        WHOLE: FoundManifest(OTHER_CLAIM, "other/x", frozenset()),
    }
    assert unused_manifests([WANTED], found, CLAIM) == [OBJECT]


def test_manifests_of_a_claim_whose_objects_left_it_are_taken_over() -> None:
    """As after a volume was bound to a claim of another name. Another operator's object has a record."""
    found = {
        WANTED: FoundManifest(OTHER_CLAIM, "models/a", frozenset()),
        OBJECT: FoundManifest(OTHER_CLAIM, "other/held", frozenset()),
        WHOLE: FoundManifest(None, None, frozenset()),
    }
    assert {name: one.claim for name, one in taken_over(found, CLAIM, {"other/held"}).items()} == {
        WANTED: CLAIM,
        OBJECT: OTHER_CLAIM,
        WHOLE: None,
    }


def test_blobs_of_no_manifest_are_unused() -> None:
    files = [blob_name(DIGEST), blob_name(OTHER_DIGEST), f"{blob_name(OTHER_DIGEST)}-partial-0", "sha256-x", "notes"]
    manifests = [FoundManifest(None, None, frozenset({DIGEST}))]
    assert unused_blobs(files, manifests) == [blob_name(OTHER_DIGEST)]
