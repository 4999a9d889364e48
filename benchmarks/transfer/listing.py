"""What it costs to resolve a model below a prefix of many keys: `python -m benchmarks.transfer.listing`.

The resolver is a process of its own, as the operator runs it. It has resolved a prefix of one key before, so that what
it imports once is not counted. The time is that of the second question; the memory is by how much that raised the
resident memory at its peak. Two servers: one that only sends pages which were made before, and the Versity gateway,
whose own work is part of the time. Exits with 1 if a figure does not hold.
"""

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.worker_protocol.codec import decode_answer, encode_request
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer

MOST_SECONDS, MOST_BYTES = 3.0, 20 * 1024**2
BUCKET, PREFIX, SMALL = "models", "many", "one"
CHOSEN = "the-one.Q4_K_M.gguf"
_KEYS = AwsKeys("AKIDEXAMPLE", "listing-0123456789abcdef")
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """`more` is the additional resident memory at the peak, in bytes."""

    seconds: float
    more: int

    @property
    def holds(self) -> bool:
        return self.seconds < MOST_SECONDS and self.more < MOST_BYTES


def keys(number: int) -> list[str]:
    """`number` keys below the prefix, in the order of a listing. One of them is what is asked for."""
    others = (f"{PREFIX}/folder-{one // 100:04}/model-{one:05}.F16.gguf" for one in range(number - 1))
    return sorted([*others, f"{PREFIX}/{CHOSEN}"])


def measure(endpoint: str) -> Cost:
    """Resolves at `endpoint` in a fresh resolver. Raises RuntimeError if it does not find the model."""
    host = urlsplit(endpoint).hostname
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker", "--resolver", f"--allow-host={host}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            _resolve(process, endpoint, SMALL)
            before = _memory(process.pid, "VmRSS")
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # VmHWM is reset: proc(5)
            began = time.perf_counter()
            _resolve(process, endpoint, PREFIX)
            seconds = time.perf_counter() - began
            return Cost(seconds, _memory(process.pid, "VmHWM") - before)
        finally:
            assert process.stdin
            process.stdin.close()


def _resolve(process: "subprocess.Popen[bytes]", endpoint: str, prefix: str) -> None:
    credentials = Credentials(None, (str(Origin.of(endpoint)),), aws=_KEYS)
    request = Resolve("1", f"s3://{BUCKET}/{prefix}/:Q4_K_M", endpoint, credentials=credentials)
    assert process.stdin
    assert process.stdout
    process.stdin.write(encode_request(request))
    process.stdin.flush()
    answer = decode_answer(process.stdout.readline())
    if not isinstance(answer, ResolvedAnswer) or not answer.plan.files[0].path.endswith(CHOSEN):
        raise RuntimeError(f"the resolver answered {answer}")


def _memory(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


@contextlib.contextmanager
def scripted(number: int) -> Iterator[str]:
    """The endpoint of a server, a process of its own, that only sends pages which were made before."""
    command = [sys.executable, "-m", "benchmarks.transfer.listing", f"--keys={number}", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def _pages(listed: list[str]) -> list[bytes]:
    parts = [listed[start : start + _PAGE] for start in range(0, len(listed), _PAGE)]
    return [_page(part, number + 1 if number + 1 < len(parts) else None) for number, part in enumerate(parts)]


def _page(listed: list[str], following: int | None) -> bytes:
    """As long as a page of Amazon's: each entry has the elements that it has there."""
    rest = "<LastModified>2026-11-30T12:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass>"
    entries = "".join(
        f"<Contents><Key>{key}</Key>{rest}<ETag>&quot;{number:032x}&quot;</ETag><Size>4096</Size></Contents>"
        for number, key in enumerate(listed)
    )
    token = f"<NextContinuationToken>{following}</NextContinuationToken>" if following is not None else ""
    flag = f"<IsTruncated>{str(following is not None).lower()}</IsTruncated>"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{head}<Name>{BUCKET}</Name>{flag}{token}{entries}</ListBucketResult>".encode()


def serve(number: int) -> None:
    pages, small = _pages(keys(number)), _page([f"{SMALL}/{CHOSEN}"], None)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self._answer(b"x" * 4096)

        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            many = asked.get("prefix") == f"{PREFIX}/"
            self._answer(pages[int(asked.get("continuation-token", "0"))] if many else small)

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            headers = {"Content-Length": len(body), "ETag": '"t"', "x-amz-bucket-region": "us-east-1"}
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.serve_forever()


@contextlib.contextmanager
def _versity(number: int) -> Iterator[str]:
    """The files are put below the gateway's directory, where it serves what it finds."""
    from tests.support import buckets  # noqa: PLC0415 - the server needs none of it

    with tempfile.TemporaryDirectory() as directory, buckets.versity(Path(directory), keys=_KEYS) as server:
        for key in [*keys(number), f"{SMALL}/{CHOSEN}"]:
            file = Path(directory, "data", BUCKET, key)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"GGUF")
        yield server.url


_SERVERS: dict[str, Callable[[int], contextlib.AbstractContextManager[str]]] = {
    "scripted": scripted,
    "versitygw": _versity,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer.listing", description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000, help="below the prefix (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each server (default %(default)s)")
    parser.add_argument("--server", action="append", choices=_SERVERS, help="instead of both; may be repeated")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.keys)
    hold = True
    for name in options.server or _SERVERS:
        with _SERVERS[name](options.keys) as endpoint:
            costs = [measure(endpoint) for _ in range(options.rounds)]
        seconds, more = [cost.seconds for cost in costs], [cost.more for cost in costs]
        hold = hold and all(cost.holds for cost in costs)
        sys.stdout.write(
            f"{options.keys:,} keys, {name}: {statistics.median(seconds):.2f} s (at most {max(seconds):.2f}; < "
            f"{MOST_SECONDS:g}), {statistics.median(more) / 1024**2:.1f} MiB more (at most "
            f"{max(more) / 1024**2:.1f}; < {MOST_BYTES // 1024**2})\n"
        )
    return int(not hold)


if __name__ == "__main__":
    sys.exit(main())
