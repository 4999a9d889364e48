"""Refs of models on a Hugging Face hub: `hf:<owner>/<repo>[@<revision>][:<selector>]`."""

from typing import ClassVar

from model_provisioner.domain.credentials.secret_keys import HF_TOKEN, SecretKind
from model_provisioner.domain.refs.repository import RepositoryRef

HUGGING_FACE = "https://huggingface.co"


class HuggingFaceRef(RepositoryRef):
    """A model in a Hugging Face repository."""

    __slots__ = ()

    schemes = ("hf",)
    root = "hf"
    spelling = "hf:<owner>/<repo>[@<revision>][:<quantisation, file.gguf or directory/>]"
    default_endpoint = HUGGING_FACE
    default_branch = "main"
    secret_kinds: ClassVar[tuple[SecretKind, ...]] = (HF_TOKEN,)
