"""`model-provisioner check`: waits until an address answers as it should. Called by `cli` in the Pod of `helm test`.

The flags and their help texts are in `settings.check`. It uses no library but the standard one, and no Kubernetes API.
"""

import argparse
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

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
    """What is wrong with one answer, empty if nothing is."""
    context = ssl._create_unverified_context() if settings.insecure else None  # noqa: S323 - no secret is sent
    try:
        with urllib.request.urlopen(settings.url, timeout=_REQUEST_SECONDS, context=context) as answer:  # noqa: S310 - http or https
            body = answer.read(_LARGEST_BODY).decode(errors="replace")
    except (OSError, HTTPException, ValueError) as error:
        return f"{settings.url} does not answer: {error}"
    missing = [text for text in settings.contains if text not in body]
    return f"the answer of {settings.url} does not contain {missing[0]!r}" if missing else ""
