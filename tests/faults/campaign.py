"""How far a campaign goes, and the randomness that it draws its points from.

FAULTS=long goes everywhere, else a sample is taken. FAULT_SEED=<number> repeats what a failed run has printed.
"""

import os
import random
import sys
from collections.abc import Sequence
from typing import TypeVar

LONG = os.environ.get("FAULTS") == "long"

T = TypeVar("T")


def say(figure: str) -> None:
    """A figure of a campaign; `make faults` shows them all."""
    sys.stdout.write(f"{figure}\n")


def randomness() -> random.Random:
    """Says its seed, which pytest shows where a test fails."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    say(f"FAULT_SEED={seed}")
    return random.Random(seed)


def points(population: Sequence[T], sample: int) -> list[T]:
    """All of `population`, or `sample` of them in order, with both ends."""
    if LONG or len(population) <= sample:
        return list(population)
    between = sorted(randomness().sample(range(1, len(population) - 1), sample - 2))
    return [population[0], *(population[number] for number in between), population[-1]]
