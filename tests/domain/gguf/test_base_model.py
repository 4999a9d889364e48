"""The name of the model that a file was made of, from the texts that its header may have."""

import pytest

from model_provisioner.domain.gguf.base_model import base_model

NAMED = [
    (("https://huggingface.co/google/gemma-3-270m", "Google", "Gemma 3 270m"), "google/gemma-3-270m"),
    (("https://huggingface.co/acme/a.b_c/", None, None), "acme/a.b_c"),
    (("http://www.hf.co/acme/base", None, None), "acme/base"),
    (("https://huggingface.co/acme/base/tree/main", None, None), "https://huggingface.co/acme/base/tree/main"),
    (("https://huggingface.co/../..", None, None), "https://huggingface.co/../.."),
    (("https://huggingface.co/acme", None, "Base"), "https://huggingface.co/acme"),
    (("https://huggingface.co.evil.example/acme/base", None, None), "https://huggingface.co.evil.example/acme/base"),
    (("https://git.example/acme/base", "Acme", "Base"), "https://git.example/acme/base"),
    ((None, "Google", "Gemma 3  270m"), "Google/Gemma-3-270m"),
    ((None, None, "Gemma 3 270m"), "Gemma-3-270m"),
    ((None, "Google", None), None),
    ((None, None, None), None),
]


@pytest.mark.parametrize(("texts", "name"), NAMED, ids=[str(texts) for texts, _ in NAMED])
def test_a_base_model_is_named_as_a_hub_knows_it(texts: tuple[str | None, ...], name: str | None) -> None:
    repo_url, organization, given = texts
    assert base_model(repo_url, organization, given) == name
