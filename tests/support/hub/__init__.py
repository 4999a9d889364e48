"""A Hugging Face hub on loopback for tests, demo and benchmarks: `with Hub() as hub: …`."""

from tests.support.hub.faults import Gate
from tests.support.hub.log import Request
from tests.support.hub.repositories import Repository
from tests.support.hub.server import Hub

__all__ = ["Gate", "Hub", "Repository", "Request"]
