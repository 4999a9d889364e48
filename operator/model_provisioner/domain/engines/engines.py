"""The engines that a ConfigMap can be written for, by the name that the settings use."""

from collections.abc import Mapping
from types import MappingProxyType

from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.llama_cpp import LLAMA_CPP
from model_provisioner.domain.engines.llama_swap import LLAMA_SWAP
from model_provisioner.domain.engines.localai import LOCALAI

ENGINES: Mapping[str, Engine] = MappingProxyType({engine.name: engine for engine in (LLAMA_CPP, LOCALAI, LLAMA_SWAP)})
