"""Wrong answers of servers that are sources: each ends in its error, publishes nothing, and leads no secret astray.

The tables have one row for each answer. A server is right in everything except the one question of the row.
"""

import gc
from pathlib import Path

import pytest

from tests.adversarial.sources.modelscope import MODELSCOPE_TABLE
from tests.adversarial.sources.registries import REGISTRY_TABLES
from tests.adversarial.sources.s3 import S3_TABLE
from tests.adversarial.sources.web import WEB_TABLE
from tests.adversarial.sources.world import CANARY, MIB, Kind, Row, Server, Table, World, world
from tests.support.cost import traced_peak
from tests.support.models import files_below

TABLES: tuple[Table, ...] = (WEB_TABLE, S3_TABLE, *REGISTRY_TABLES, MODELSCOPE_TABLE)
ROWS = [pytest.param(kind, row, id=f"{kind.name}: {row.name}") for kind, rows in TABLES for row in rows]
MOST_BYTES = 24 * MIB


@pytest.mark.parametrize(("kind", "row"), ROWS)
async def test_a_wrong_answer_is_named_and_publishes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: Kind, row: Row
) -> None:
    async with world(kind, row, tmp_path / "volume") as made:
        with traced_peak() as peak, pytest.raises(row.error, match=row.says) as caught:
            await made.download()
        assert type(caught.value) is row.error
        message = caught.value.message
        assert message.isprintable()
        assert len(message) < 600
        assert CANARY not in message
        check_that_nothing_is_kept(made)
        assert not secrets_of(made.elsewhere)
        assert peak() < MOST_BYTES
        assert 0 < len(made.home.log) <= row.requests
    gc.collect()  # a task whose error was not seen logs it when it is collected
    assert not [record.getMessage() for record in caplog.records if record.name == "asyncio"]


def test_there_are_at_least_thirty_wrong_answers_and_ten_of_each_source() -> None:
    assert {kind.name for kind, _ in TABLES} == {"https", "s3", "oci", "ollama", "modelscope"}
    assert min(len(rows) for _, rows in TABLES) >= 10
    assert len({row.id for row in ROWS}) == len(ROWS) >= 30


def check_that_nothing_is_kept(made: World) -> None:
    """Neither a model at its path nor a secret in a journal or record."""
    assert not files_below(made.fetch.root)
    kept = [file for file in made.fetch.root.rglob("*") if file.is_file()]
    assert not [file for file in kept if CANARY.encode() in file.read_bytes()]


def secrets_of(server: Server) -> list[str]:
    """The requests that told the server a secret."""
    return [text for text in server.log if CANARY in text or "Authorization" in text or "X-Amz-" in text]
