"""At how many points faults are injected, and the random numbers that choose them.

FAULTS=long takes all points, otherwise a sample is taken. FAULT_SEED=<number> repeats a failed run that printed it.
"""

import os
import random
import sys
from collections.abc import Sequence
from typing import TypeVar

LONG = os.environ.get("FAULTS") == "long"

T = TypeVar("T")


def say(figure: str) -> None:
    """Prints a result; `make faults` shows it."""
    sys.stdout.write(f"{figure}\n")


def randomness() -> random.Random:
    """A random generator. Prints its seed, which pytest shows if the test fails."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    say(f"FAULT_SEED={seed}")
    return random.Random(seed)


def points(population: Sequence[T], sample: int) -> list[T]:
    """All of `population`, or `sample` of them in order, including the first and the last."""
    if LONG or len(population) <= sample:
        return list(population)
    between = sorted(randomness().sample(range(1, len(population) - 1), sample - 2))
    return [population[0], *(population[number] for number in between), population[-1]]
