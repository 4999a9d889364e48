"""What is used of the official client: the login of its asyncio half. Called by `client`.

`import kubernetes` also imports its synchronous half, with requests, oauthlib and websocket: 6 MiB in the operator and
in the gateway each. So the package is entered here without its `__init__`, which has nothing but imports and the
version. Its modules are imported when they are first used. kopf also enters the package, so this comes before it
(`controller/__init__.py`).
"""

import importlib
import importlib.machinery
import sys
from types import ModuleType


class _Package(ModuleType):
    """The package `kubernetes`, whose modules are imported at the first use. `spec` is that of the package."""

    def __init__(self, spec: importlib.machinery.ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__path__ = spec.submodule_search_locations or []

    def __getattr__(self, name: str) -> ModuleType:
        try:
            return importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError:
            raise AttributeError(f"{self.__name__} has no {name}") from None


def _enter_package(name: str) -> None:
    """Does nothing if the package is imported already."""
    spec = importlib.machinery.PathFinder.find_spec(name)
    if spec is not None and name not in sys.modules:
        sys.modules[name] = _Package(spec)


_enter_package("kubernetes")

from kubernetes.aio.client import Configuration  # noqa: E402 - after the package was entered
from kubernetes.aio.config import load_incluster_config, load_kube_config  # noqa: E402
from kubernetes.aio.config.config_exception import ConfigException  # noqa: E402

__all__ = ["ConfigException", "Configuration", "load_incluster_config", "load_kube_config"]
