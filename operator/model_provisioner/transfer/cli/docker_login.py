"""Finds a person's login at a registry where `docker login`, `podman login` and `oras login` keep it.

Called by `fetch` for an artifact in a registry, without a credentials file. What stands in a file is read in
`domain.credentials.docker_config`. A helper that a file names is run as docker runs it: it is the person's own program.
Without a login, the artifact may still be public: what went wrong is a note, and no error.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_provisioner.domain.credentials import docker_config
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.credentials.secret_keys import DOCKER, UnusableSecret, read
from model_provisioner.domain.refs.hubs import is_this_machine
from model_provisioner.domain.refs.oci import OciRef

_MAX_BYTES = 1024 * 1024
_HELPER_SECONDS = 30.0
_HELPER = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Login:
    """`notes` say what could not be read or run, without a secret."""

    credentials: Credentials | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()


class _NoLogin(Exception):
    """The text says why, and follows the name of the file or of the helper."""


def files(variable: Callable[[str], str]) -> tuple[Path, ...]:
    """Where logins are kept, the first one first. `variable` is one of the environment, "" if it is not set."""
    home = Path(variable("HOME") or "/")
    docker, runtime, named = (variable(name) for name in ("DOCKER_CONFIG", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE"))
    return (
        *([Path(named)] if named else []),
        Path(docker or home / ".docker") / "config.json",
        *([Path(runtime) / "containers/auth.json"] if runtime else []),
        home / ".config/containers/auth.json",
    )


async def login_for(
    ref: OciRef, kept_in: Sequence[Path], *, direct: bool, helper_seconds: float = _HELPER_SECONDS
) -> Login:
    """The login for `ref` in the first of the files that has one. `direct`: without a proxy. A helper is asked for
    `helper_seconds` at most.
    """
    notes: list[str] = []
    for file in kept_in:
        try:
            if entry := await _entry(ref, file, helper_seconds, notes):
                return Login(_credentials(ref, entry, direct=direct), tuple(notes))
        except _NoLogin as error:
            notes.append(f"{file} {error}: it is not used")
    return Login(None, tuple(notes))


async def _entry(ref: OciRef, file: Path, helper_seconds: float, notes: list[str]) -> docker_config.Json | None:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _NoLogin(f"can't be read ({error.strerror})") from None
    try:
        found = docker_config.find(content, ref.registry, ref.repository)
    except ValueError:
        raise _NoLogin("is no configuration of docker") from None
    if found.helper is not None and not _HELPER.fullmatch(found.helper):
        notes.append(f"the credential helper {found.helper[:100]!a}, which {file} names, is no name of a program")
    elif found.helper is not None:
        try:
            return await _ask(found.helper, found.server, helper_seconds) or found.entry
        except _NoLogin as error:
            notes.append(f"docker-credential-{found.helper}, which {file} names, {error}")
    return found.entry


async def _ask(helper: str, server: str, seconds: float) -> docker_config.Json | None:
    """What the helper has for `server`; None if it has no login (it says so by its exit code).

    `helper` is a name that `_HELPER` allows.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            f"docker-credential-{helper}",
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise _NoLogin(f"can't be run ({error.strerror})") from None
    try:
        async with asyncio.timeout(seconds):
            answer, _ = await process.communicate(server.encode())
    except TimeoutError:
        raise _NoLogin(f"did not answer in {seconds:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return docker_config.helpers_answer(answer) if process.returncode == 0 else None
    except ValueError:
        raise _NoLogin("gave no login in its answer") from None


def _credentials(ref: OciRef, entry: docker_config.Json, *, direct: bool) -> Credentials:
    """For the registry, also without TLS if it is on this machine, as docker has it."""
    try:
        found = read({".dockerconfigjson": docker_config.as_configuration(ref.registry, entry)}, (DOCKER,))
    except UnusableSecret:
        raise _NoLogin(f"has no usable login for {ref.registry}") from None
    plain = direct and is_this_machine(ref.registry.partition(":")[0])
    return replace(found, origins=(*found.origins, *([f"http://{ref.registry}"] if plain else [])))
