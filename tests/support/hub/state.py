"""What both origins share: repositories, faults, log, signer and rates. Made by `server`."""

from dataclasses import dataclass, field

from aiohttp import web

from tests.support.hub.access import Repositories
from tests.support.hub.faults import Faults
from tests.support.hub.log import Exchange, RequestLog
from tests.support.hub.pacing import Pacer
from tests.support.hub.signing import Signer

EXCHANGE = web.RequestKey("exchange", Exchange)


@dataclass
class ModelScopeFaults:
    """How the ModelScope API differs from what it should be. `most_listed` is where a listing is cut off.

    `ignores_ref`: the newest commit of master is told for every `Ref`. Without `serves_git`, git's refs can't be read.
    """

    most_listed: int = 3000
    ignores_ref: bool = False
    serves_git: bool = True


@dataclass
class State:
    repositories: Repositories = field(default_factory=Repositories)
    faults: Faults = field(default_factory=Faults)
    log: RequestLog = field(default_factory=RequestLog)
    signer: Signer = field(default_factory=Signer)
    pacer: Pacer = field(default_factory=Pacer)  # over all bodies
    connection_rate: int | None = None  # bytes per second of one connection
    tree_page_size: int = 1000
    modelscope: ModelScopeFaults = field(default_factory=ModelScopeFaults)
    endpoint: str = ""  # the API origin's scheme, host and port, once it listens
    content_origin: str = ""
