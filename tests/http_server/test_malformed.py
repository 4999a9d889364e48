"""How often malformed requests are logged."""

import pytest

from model_provisioner.http_server.malformed import MalformedRequests


def test_many_are_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    requests = MalformedRequests(lambda: now[0])
    for second in range(61):
        now[0] = float(second)
        requests.note("10.0.0.1", "BadStatusLine")
    first, second_line = caplog.messages
    assert first.startswith("1 malformed request(s)")
    assert second_line.startswith("60 malformed request(s)")
    assert "10.0.0.1 (BadStatusLine)" in second_line
