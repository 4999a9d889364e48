"""Names the model that a GGUF file was made of, as programs ask a hub for it.

`domain.gguf.header` passes what the header has. The texts are the author's: they name a repository, and are never
opened here.

Source of the keys: `general.base_model.*` in docs/gguf.md of ggml, and gguf-py/gguf/metadata.py of llama.cpp, which
makes the texts of a model card: its `repo_url` is an address on huggingface.co.
"""

import re

BASE_MODEL_KEYS = tuple(b"general.base_model.0." + key for key in (b"repo_url", b"organization", b"name"))
"""The keys of the texts that `base_model` takes, in its order, for the first base model.

A model that was merged of several has the tokenizer of one of them."""
_ON_THE_HUB = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(\w[\w.-]*/\w[\w.-]*?)/?", re.ASCII)


def base_model(repo_url: str | None, organization: str | None, name: str | None) -> str | None:
    """`OWNER/REPO` on Hugging Face, else the address, else organization and name without blanks; None if none is known.

    A name that was made of words in a model card may be spelled differently than the repository.
    """
    if repo_url:
        on_the_hub = _ON_THE_HUB.fullmatch(repo_url)
        return on_the_hub[1] if on_the_hub else repo_url
    if not name:
        return None
    return "/".join("-".join(part.split()) for part in (organization, name) if part)
