"""Refs of models on ModelScope: `modelscope:<owner>/<repo>[@<revision>][:<selector>]`."""

from typing import ClassVar

from model_provisioner.domain.credentials.secret_keys import MODELSCOPE_TOKEN, SecretKind
from model_provisioner.domain.refs.repository import RepositoryRef


class ModelScopeRef(RepositoryRef):
    """A model in a ModelScope repository."""

    __slots__ = ()

    schemes = ("modelscope",)
    root = "modelscope"
    spelling = "modelscope:<owner>/<repo>[@<revision>][:<quantisation, file.gguf or directory/>]"
    default_endpoint = "https://modelscope.cn"
    default_branch = "master"
    secret_kinds: ClassVar[tuple[SecretKind, ...]] = (MODELSCOPE_TOKEN,)
