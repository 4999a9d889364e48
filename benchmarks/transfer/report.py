"""The page that `make bench` writes: ratios, the machine, and the costs of each scene. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.transfer import figures
from benchmarks.transfer.figures import Figure
from benchmarks.transfer.model import Model
from benchmarks.transfer.scenes import Costs, Peak, Resumed
from model_provisioner.domain.quantity import format_bytes

_TEXT = """# What a download costs

Written by `make bench`. Every program fetches the same file of {size} over TLS from the same nginx on the same machine
into memory, in turn, round after round; a figure is a ratio of medians.

{figures}

Measured on {machine} Load average at the beginning: {load:.1f}.

Wall-clock time is from the start of the process to its end, CPU time is user and system. Peak memory is the high-water
mark of resident memory (VmHWM). The file is pseudo-random behind a valid header, in the page cache of the server, and
written to tmpfs. Of all these programs `aria2c --checksum`, `openssl dgst` and ours verify the digest.

## Loopback

{near}

The warm worker is what the operator runs: it starts no interpreter, and is handed a plan that was resolved before.

## A hub that limits each connection

The same file; the kernel paces every connection to 1/64 of the file a second.

{limited}

## A far path

64 MiB, 80 ms of round-trip time, one packet in a thousand lost in each direction, CUBIC at the server.

{far}

## Memory of a worker

A fresh worker for each row. One connection runs as fast as it goes; with 8 and 16 each gets 16 MiB/s, so that all are
used.

{peaks}

## Killed and continued

`kill -9` when the worker tells of so many bytes, then a second one. What is sent twice is counted at the hub, so it
includes what the first one's kernel had taken and nobody had read.

{killed}
"""


@dataclass(frozen=True, slots=True)
class Report:
    """The results of all scenes. `far` is the reason if that scene was not measured."""

    machine: str
    load: float
    model: Model
    near: Costs
    limited: Costs
    far: Costs | str
    peaks: Sequence[Peak]
    killed: Sequence[Resumed]

    @property
    def figures(self) -> list[Figure]:
        return [
            *figures.of_near(self.near),
            *figures.of_memory(self.peaks),
            *figures.of_limited(self.limited),
            *figures.of_killed(self.killed),
            *([] if isinstance(self.far, str) else figures.of_far(self.far)),
        ]

    @property
    def missed(self) -> bool:
        return any(figure.missed for figure in self.figures)

    @property
    def text(self) -> str:
        return _TEXT.format(
            size=format_bytes(self.model.size),
            figures=figures.figures_table(self.figures),
            machine=self.machine,
            load=self.load,
            near=figures.costs_table(self.near),
            limited=figures.costs_table(self.limited),
            far=f"Not measured: {self.far}." if isinstance(self.far, str) else figures.costs_table(self.far),
            peaks=figures.peaks_table(self.peaks),
            killed=figures.killed_table(self.killed),
        )
