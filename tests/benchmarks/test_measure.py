"""What a program costs includes what it does in other processes."""

import os
import signal
import subprocess
import sys

import pytest

from benchmarks import quiet
from benchmarks.processes import children, cpu_seconds, family, peak_bytes
from benchmarks.transfer.measure import Cost, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")

BUSY = "import time\nwhile time.process_time() < 0.4: pass\n"
MIB = 1024 * 1024
HOLDS = f"import time\nheld = bytearray(100 * {MIB})\ntime.sleep(1)\n"


def cost_of(program: str) -> Cost:
    return run([sys.executable, "-c", program], os.environ)


def in_child(program: str, *, waits: bool) -> str:
    """A program that runs `program` in a child, and does not wait for it unless `waits`."""
    then = "child.wait()" if waits else "__import__('time').sleep(1)"
    return f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {program!r}])\n{then}\n"


@pytest.mark.parametrize("program", [BUSY, in_child(BUSY, waits=True), in_child(BUSY, waits=False)])
def test_the_cpu_time_of_children_counts_whether_they_are_waited_for_or_not(program: str) -> None:
    assert 0.4 <= cost_of(program).cpu < 4


def test_the_cpu_time_of_a_process_that_outlives_the_program_counts_and_it_is_ended() -> None:
    before = children(os.getpid())
    works = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); time.sleep(600)"
    started = f"[sys.executable, '-c', {works!r}], stdout=-1, stderr=subprocess.DEVNULL, start_new_session=True"
    program = f"import subprocess, sys\nsubprocess.Popen({started}).stdout.readline()\n"
    assert cost_of(program).cpu > 0.5
    assert children(os.getpid()) == before


def test_orphans_of_later_programs_are_not_adopted() -> None:
    cost_of("")
    starts = "import subprocess, sys\nprint(subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL).pid)\n"
    orphan = int(subprocess.run([sys.executable, "-c", starts], stdout=subprocess.PIPE, check=True).stdout)
    adopted = orphan in children(os.getpid())
    os.kill(orphan, signal.SIGKILL)
    assert not adopted


def test_the_memory_of_children_is_added_to_the_programs_own() -> None:
    alone, both = cost_of(HOLDS).peak, cost_of(in_child(HOLDS, waits=True)).peak
    assert alone > 100 * MIB
    assert both > alone + 4 * MIB  # the interpreter that waits


def test_a_program_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        cost_of("import sys; sys.exit('no such hub')")
    assert b"no such hub" in caught.value.stderr


def test_a_process_that_has_ended_has_used_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert family(ended.pid) == [ended.pid]
    assert (cpu_seconds(ended.pid), peak_bytes(ended.pid)) == (0, 0)


def test_what_our_descendants_use_is_no_noise() -> None:
    before = quiet.reading()
    cost_of(in_child(BUSY, waits=True))
    after = quiet.reading()
    assert after.ours - before.ours >= 0.4
    assert after.busy >= before.busy
