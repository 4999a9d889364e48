"""`model-provisioner check` asks a real server: which answers are right, and how long it waits for one."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from model_provisioner.cli import main

PAGE = "# HELP model_provisioner_operator_acting …\nmodel_provisioner_operator_acting 1.0\n"


@contextmanager
def serving(
    answers: list[tuple[int, str]], certificate: trustme.LeafCert | None = None, at: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[str]:
    """The URL of a server that gives these answers, the last one again and again."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            """Writes nothing."""

    server = HTTPServer(at, Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check(url: str, *flags: str, contains: str = "acting 1.0", seconds: int = 0) -> int:
    return main(["check", f"--url={url}", f"--contains={contains}", f"--seconds={seconds}", *flags])


def test_a_right_answer_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with serving([(200, PAGE)]) as url:
        assert check(url) == 0
    assert capsys.readouterr().out == f"{url} answers as it should\n"


def test_it_waits_for_a_right_answer() -> None:
    with serving([(503, "starting"), (200, PAGE.replace("1.0", "0.0")), (200, PAGE)]) as url:
        assert check(url, seconds=60) == 0


WRONG = [
    ((200, "nothing"), "does not contain 'acting 1.0'"),
    ((503, PAGE), "does not answer: HTTP Error 503"),
    ((200, PAGE.replace("1.0", "0.0")), "does not contain 'acting 1.0'"),
]


@pytest.mark.parametrize(("answer", "why"), WRONG, ids=[row[1] + str(row[0]) for row in WRONG])
def test_a_wrong_answer_fails(capsys: pytest.CaptureFixture[str], answer: tuple[int, str], why: str) -> None:
    with serving([answer]) as url:
        assert check(url) == 1
    assert (
        f"model-provisioner check: {'the answer of ' if 'contain' in why else ''}{url} {why}" in capsys.readouterr().err
    )


def test_nothing_that_listens_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with serving([(200, PAGE)]) as url:
        pass
    assert check(url) == 1
    assert "Connection refused" in capsys.readouterr().err


def test_the_answer_of_one_of_two_operators_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A headless Service has the addresses of both, and the one that waits says so."""
    waits = PAGE.replace("1.0", "0.0")
    with serving([(200, waits)]) as first:
        port = int(first.split(":")[2].split("/")[0])
        with serving([(200, waits), (200, PAGE)], at=("127.0.0.2", port)):
            both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", port)) for number in (1, 2)]
            resolve, name = socket.getaddrinfo, "operators.example"
            monkeypatch.setattr(
                socket, "getaddrinfo", lambda host, *a, **b: both if host == name else resolve(host, *a, **b)
            )
            url = f"http://{name}:{port}/metrics"
            assert [check(url), check(url)] == [1, 0]


def test_a_certificate_of_another_name_needs_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with serving([(200, PAGE)], trustme.CA().issue_cert("page.example.com")) as url:
        assert check(url) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err
        assert check(url, "--insecure") == 0


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gateway:8081", ""])
def test_only_addresses_of_http_are_asked(url: str) -> None:
    assert check(url) == 2


def test_an_answer_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    with serving([(200, "x" * (8 * 1024 * 1024) + PAGE)]) as url:
        assert check(url) == 1
