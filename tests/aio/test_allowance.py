"""An allowance is used up at once or slowly, and comes back with time."""

import pytest

from model_provisioner.aio.allowance import Allowance


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_allowance_is_used_up_and_comes_back() -> None:
    clock = Clock()
    allowance = Allowance(10, 5, clock)
    assert [allowance.delay(1) for _ in range(5)] == [0.0] * 5
    assert allowance.delay(1) == pytest.approx(0.1)
    clock.now += 100
    assert [allowance.delay(1) for _ in range(5)] == [0.0] * 5
    assert allowance.delay(20) == pytest.approx(2.0)
