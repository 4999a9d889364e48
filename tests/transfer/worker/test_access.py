"""The proof that a source sends a file to the credentials of an object, before it gets a copy."""

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.errors import AccessDenied, ProvisionError, SourceNotFound, SourceUnavailable
from model_provisioner.transfer.http.client import open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.transfer.worker.access import prove
from model_provisioner.worker_protocol.messages import AccessProved, ProveAccess
from tests.support.ggufs import tiny_gguf
from tests.transfer.bench import MODEL, NAME, REF, Bench, network, token_for


async def asked(bench: Bench, token: str | None) -> AccessProved:
    """The answer about the file as the owner of `hf_good` has resolved it."""
    (file,) = (await bench.resolve(credentials=token_for(bench.hub, "hf_good"))).files
    credentials = token_for(bench.hub, token) if token else None
    async with open_client(network(bench.hub)) as client:
        request = ProveAccess("1", REF, file.endpoint or "", file, credentials)
        return await prove(request, Resolver(client), client, Clock())


@pytest.mark.parametrize("kind", ["private", "gated", "public"])
async def test_one_byte_proves_that_the_file_may_be_read(bench: Bench, kind: str) -> None:
    repository = bench.hub.repository(NAME, private=kind == "private", gated=kind == "gated")
    repository.add(MODEL, tiny_gguf())
    assert await asked(bench, "hf_good") == AccessProved("1")
    assert bench.hub.bytes_sent(MODEL) == 1


@pytest.mark.parametrize(
    ("kind", "token", "error"),
    [
        ("private", None, SourceNotFound),
        ("private", "hf_unknown", AccessDenied),
        ("gated", None, ProvisionError),
        ("gated", "hf_unknown", ProvisionError),
    ],
)
async def test_a_credential_that_the_source_refuses_proves_nothing(
    bench: Bench, kind: str, token: str | None, error: type[ProvisionError]
) -> None:
    repository = bench.hub.repository(NAME, private=kind == "private", gated=kind == "gated")
    repository.add(MODEL, tiny_gguf())
    with pytest.raises(error):
        await asked(bench, token)
    assert bench.hub.bytes_sent(MODEL) == 0


async def test_a_source_that_fails_proves_nothing(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, tiny_gguf())
    bench.hub.fail(500, times=None, where="content")
    with pytest.raises(SourceUnavailable):
        await asked(bench, "hf_good")
