"""A refused connection is in the log, and many of them do not fill it."""

import pytest

from model_provisioner.controller.workers.door.wrong_tokens import WrongTokens


def test_one_line_a_minute_for_each_job(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    tokens = WrongTokens(lambda: now)
    for _ in range(1000):
        tokens.note("team-a/first")
        tokens.note("team-b/second")
    assert [record.args for record in caplog.records] == [("team-a/first",), ("team-b/second",)]
    now += 60
    tokens.note("team-a/first")
    assert [record.args for record in caplog.records[2:]] == [("team-a/first",)]
    assert caplog.records[0].levelname == "WARNING"
