"""`model-provisioner check`: waits until an address answers as it should. Called by `cli` in the Pod of `helm test`.

The flags and their help texts are in `settings.check`. It uses no library but the standard one, and no Kubernetes API.
A name may have several addresses, as the headless Service of two operators of which one acts: an answer of any counts.
"""

import argparse
import contextlib
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import urlsplit

from pydantic import ValidationError

from model_provisioner.settings.check import CheckSettings
from model_provisioner.settings.flags import add_flags, explain, refuse

_REQUEST_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_LARGEST_BODY = 4 * 1024 * 1024  # bytes; a page of metrics has some for each model that is not Ready


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, CheckSettings)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 when the answer is right, 1 if it was not in time, 2 for wrong settings."""
    try:
        settings = CheckSettings(**vars(args))
    except ValidationError as error:
        return refuse("check", explain(error))
    problem = wait(settings, time.monotonic, time.sleep)
    if problem:
        sys.stderr.write(f"model-provisioner check: {problem}\n")
        return 1
    sys.stdout.write(f"{settings.url} answers as it should\n")
    return 0


def wait(settings: CheckSettings, monotonic: Callable[[], float], sleep: Callable[[float], object]) -> str:
    """Asks again until the answer is right, or for `settings.seconds`. Returns what is wrong with the last one."""
    deadline = monotonic() + settings.seconds
    while True:
        problem = _problem(settings)
        if not problem or monotonic() >= deadline:
            return problem
        sleep(_PAUSE_SECONDS)


def _problem(settings: CheckSettings) -> str:
    """What is wrong with the answer of the last address, empty if an answer is right."""
    problem = ""
    for request in _requests(settings.url):
        problem = _problem_with(settings, request)
        if not problem:
            break
    return problem


def _requests(url: str) -> list[urllib.request.Request]:
    """One request for each address of the host, with its name in a header; one for the name if TLS checks the name."""
    parts, urls = urlsplit(url), set[str]()
    with contextlib.suppress(OSError, ValueError):  # the request for the name says what is wrong
        port = parts.port or 80
        for *_, address in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
            host = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
            urls.add(parts._replace(netloc=f"{host}:{port}").geturl())
    if not urls or parts.scheme == "https":
        urls = {url}
    return [urllib.request.Request(one, headers={"Host": parts.netloc}) for one in sorted(urls)]  # noqa: S310 - http or https


def _problem_with(settings: CheckSettings, request: urllib.request.Request) -> str:
    context = ssl._create_unverified_context() if settings.insecure else None  # noqa: S323 - no secret is sent
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS, context=context) as answer:  # noqa: S310 - http or https
            body = answer.read(_LARGEST_BODY).decode(errors="replace")
    except (OSError, HTTPException, ValueError) as error:
        return f"{settings.url} does not answer: {error}"
    missing = [text for text in settings.contains if text not in body]
    return f"the answer of {settings.url} does not contain {missing[0]!r}" if missing else ""
