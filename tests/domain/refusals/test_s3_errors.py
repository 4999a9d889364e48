"""What an error of a server that speaks S3 says about clocks: the time that was read, never the server's own text."""

import pytest

from model_provisioner.domain.errors import SourceUnavailable
from model_provisioner.domain.refusals.s3_errors import S3Answer, S3Request, s3_error

ASKED = S3Request("s3://bkt/m.gguf", "bkt", "https://host", authenticated=True)
NOW = 1_000_000_000.0
THERE = "(2001-09-09 03:46:40 UTC there)"


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        ("Sun, 09 Sep 2001 03:46:40 GMT", THERE),
        ("Sun, 09 Sep 2001 05:46:40 +0200", THERE),
        ("Sun, 09 Sep 2001 03:46:40 GMT (a secret)", THERE),
        ("a secret", "15 minutes: set"),
        ("", "15 minutes: set"),
    ],
)
def test_a_clock_that_differs_is_told_by_the_time_that_was_read(date: str, shown: str) -> None:
    error = s3_error(S3Answer(403, {"Date": date}, "RequestTimeTooSkewed"), ASKED, NOW)
    assert isinstance(error, SourceUnavailable)
    assert shown in error.message
    assert "secret" not in error.message
