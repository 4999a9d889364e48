"""Hubs that list very much, or answer very slowly: the operator's memory and the objects of others do not suffer."""

import time
from pathlib import Path

from tests.support.hostile_hub import drips, hostile_hub, lists
from tests.support.stand import Stand

OBJECTS = 16
MIB = 1024**2


def test_large_listings_for_many_objects_take_little_memory(bench: Stand) -> None:
    with hostile_hub(lists(100_000)) as endpoint:
        operator = bench.start_operator(f"--allow-host={endpoint.removeprefix('http://')}")
        for number in range(OBJECTS):
            bench.apply(f"large-{number}", modelRef=f"hf:acme/large-{number}", endpoint=endpoint)
        for number in range(OBJECTS):
            status = bench.until(f"large-{number}", "UnsupportedSource")["status"]
            assert "name the directory or the file" in status["conditions"][0]["message"]
    assert sum(peak_bytes(pid) for pid in family(operator.process.pid)) < 400 * MIB


def test_slow_questions_of_one_namespace_do_not_delay_another(bench: Stand) -> None:
    with bench.neighbour(f"{bench.namespace}-b") as other, hostile_hub(drips) as endpoint:
        bench.start_operator(other.store, f"--allow-host={endpoint.removeprefix('http://')}")
        bench.apply("first", modelRef="hf:acme/tiny:Q4_K_M")
        bench.until("first", "Available")
        for number in range(40):
            other.apply(f"slow-{number}", modelRef=f"hf:acme/slow-{number}", endpoint=endpoint)
        other.until("slow-39", "Resolving")
        began = time.monotonic()
        bench.apply("second", modelRef="hf:acme/tiny:Q8_0")
        bench.until("second", "Available")
        assert time.monotonic() - began < 45, "the questions before it take minutes"


def family(pid: int) -> list[int]:
    """The process and its descendants (Linux)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def peak_bytes(pid: int) -> int:
    """The peak of the resident memory of a process; the sum of peaks is more than they ever had together."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
