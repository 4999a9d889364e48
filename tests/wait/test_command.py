"""`model-provisioner wait` as a process: what ends it, with which exit code, and what it takes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.wait import FLAGS, Bench
from model_provisioner.cli import main

_MIB = 1024  # in KiB


@pytest.fixture(autouse=True)
def _handler_of_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@contextmanager
def waiting(*flags: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that waits, after its first line."""
    command = [sys.executable, "-m", "model_provisioner.cli", "wait", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().startswith("waiting for ")
            yield process
        finally:
            process.kill()


def wait(*flags: str) -> int:
    return main(["wait", "--timeout=0", *flags])


@pytest.mark.parametrize("ref", ["hf:o/r:m-00001-of-00002.gguf", "hf:o/r:m-00002-of-00002.gguf"])
def test_a_ref_that_names_a_file_waits_for_all_parts(
    ref: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hf/o/r").mkdir(parents=True)
    for number in (2, 1):
        assert wait(f"--models={tmp_path}", f"--ref={ref}") == 1
        (tmp_path / f"hf/o/r/m-0000{number}-of-00002.gguf").touch()
    assert wait(f"--models={tmp_path}/", f"--ref={ref}") == 0
    assert capfd.readouterr().out.endswith(f"{tmp_path}/hf/o/r/m-00001-of-00002.gguf is there, after 0s\n")


def test_a_path_may_have_its_mount(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    assert wait(f"--models={tmp_path}", f"--path={tmp_path}/a.gguf") == 0
    assert wait(f"--models={tmp_path}", "--path=a.gguf") == 0


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--path=../a.gguf"], "'../a.gguf' must be relative to the volume"),
        (["--path=/other/a.gguf"], "must be relative to the volume"),
        (["--name=../tiny"], "is not the name of a ModelDownload"),
        (["--ref=hf:o/r:Q4_K_M"], "use --name with the name of its ModelDownload"),
        (["--ref=nonsense"], "is not a model ref"),
        (["--ref=s3://bucket/a.gguf", "--endpoint=nonsense"], "is not a scheme"),
        (["--ref=hf:o/r:a.gguf", "--endpoint=https://mirror.example"], "use --name for other endpoints"),
        (["--path=a.gguf", "--timeout=soon"], "'soon' is not a duration"),
    ],
)
def test_wrong_usage_says_what_to_write(
    flags: list[str], problem: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["wait", f"--models={tmp_path}", *flags]) == 2
    out, err = capfd.readouterr()
    assert err.startswith("model-provisioner wait: ")
    assert problem in err
    assert not out


@pytest.mark.parametrize("flags", [[], ["--path=a", "--name=b"], ["--unknown"]])
def test_one_thing_is_waited_for(flags: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["wait", *flags])
    assert ended.value.code == 2


def test_a_published_file_ends_it(tmp_path: Path) -> None:
    with waiting(f"--models={tmp_path}", "--path=a.gguf") as process:
        (tmp_path / "a.part").write_bytes(b"GGUF")
        (tmp_path / "a.part").rename(tmp_path / "a.gguf")
        assert process.wait(timeout=60) == 0


def test_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    with waiting(f"--models={tmp_path}", "--path=a.gguf") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143


def test_it_takes_at_most_15_mib(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.prepare()
    peaks = {name: bench.cost(flags, idle=0.1).peak_kib for name, flags in FLAGS.items()}
    assert max(peaks.values()) <= 15 * _MIB, peaks
