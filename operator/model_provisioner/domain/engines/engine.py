"""What is known of one engine: the format of its file, and which models fit into it.

Each engine is one value, in a module of its own. `domain.engines.documents` puts the files together.
"""

from collections.abc import Callable
from dataclasses import dataclass

from model_provisioner.domain.catalog import CATALOG_NAME
from model_provisioner.domain.engines.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` is how settings spell it; `extension` ends the name of its file, without a dot.

    A file is `opening`, then `entry` of each model; both end with a line break. `comment` begins a line that the engine
    ignores. `obstacle` says why the format can't list a model, as the end of a message; None if it can.
    """

    name: str
    extension: str
    comment: str
    opening: str
    entry: Callable[[ServedModel], str]
    obstacle: Callable[[ServedModel], str | None]

    @property
    def config_map_name(self) -> str:
        return f"{CATALOG_NAME}-{self.name}"

    def key(self, claim: str) -> str:
        """The key of the ConfigMap that lists the models on `claim`, which is the name of a file when it is mounted."""
        return f"{self.name}.{claim}.{self.extension}"
