"""When a signed URL must be replaced."""

import pytest

from model_provisioner.domain.network.signed_urls import refresh_at

OBTAINED = 1_000_000.0


@pytest.mark.parametrize(
    ("query", "moment"),
    [
        ("Expires=1003600&Signature=x", 1_003_540),
        ("Expires=1000060&Signature=x", 1_000_030),
        ("Expires=999000", 999_500),
        ("X-Amz-Date=19700112T134640Z&X-Amz-Expires=3600", 1_003_540),
        ("X-Amz-Expires=3600", None),
        ("X-Amz-Date=today&X-Amz-Expires=3600", None),
        ("Expires=never", None),
        ("Signature=x", None),
    ],
)
def test_a_minute_before_the_end_or_at_half_of_a_short_life(query: str, moment: float | None) -> None:
    assert refresh_at(f"https://content.test/file?{query}", OBTAINED) == moment
