"""The average speed of a download and the time that is left."""

from model_provisioner.domain.lifecycle.speed import Meter


def test_speed_is_an_average_and_starts_again_when_bytes_fall() -> None:
    meter = Meter(0.0, 0).observe(1.0, 100)
    assert (meter.rate, meter.seconds_left(1100)) == (100.0, 10)
    faster = meter.observe(2.0, 300)
    assert faster.rate is not None
    assert 100 < faster.rate < 200
    assert faster.observe(3.0, 10).rate is None
    assert Meter(0.0, 0).seconds_left(10) is None
