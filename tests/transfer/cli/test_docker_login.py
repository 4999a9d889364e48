"""`fetch` from a private registry (Debian's docker-registry) with the logins that docker and podman keep."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_provisioner.domain.credentials.credentials import RegistryLogin
from model_provisioner.domain.refs.oci import OciRef
from model_provisioner.transfer.cli.docker_login import files, login_for
from tests.support import registry
from tests.support.ggufs import tiny_gguf
from tests.support.registry import GGUF, PASSWORD, USER, Pusher

MODEL = tiny_gguf()
LOGIN = {"username": USER, "password": PASSWORD}
HELPER = """#!/bin/sh
read -r server
[ "$1 $server" = "get {host}" ] || exit 1
echo '{{"ServerURL": "{host}", "Username": "reader", "Secret": "registry-canary"}}'
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """The host of a registry with the private artifact `team/tiny:v1`."""
    with registry.running(tmp_path, protected=True) as url:
        pusher = Pusher(url, "team/tiny", (USER, PASSWORD))
        pusher.artifact("v1", [pusher.blob(MODEL, GGUF)])
        yield url.removeprefix("http://")


def fetch(home: Path, host: str, *flags: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", f"oci://{host}/team/tiny:v1", *flags]
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(home)}
    return subprocess.run(
        [*command, f"--to={home / 'models'}", "--allow-host=127.0.0.1"],
        check=False,
        capture_output=True,
        text=True,
        env={**own, **environment},
        timeout=60,
    )


def write(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def helper(directory: Path, text: str) -> str:
    """A PATH with the program docker-credential-keys before all others."""
    write(directory / "docker-credential-keys", text).chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def test_a_private_artifact_is_fetched_with_the_login_of_docker(host: str, tmp_path: Path) -> None:
    refused = fetch(tmp_path, host)
    assert refused.returncode == 1
    assert refused.stderr.rstrip().endswith("(by docker login, or with --credentials-file)")
    write(tmp_path / ".docker/config.json", {"auths": {"other.example": LOGIN, host: LOGIN}})
    done = fetch(tmp_path, host)
    assert (done.returncode, done.stderr.count("\n")) == (0, 0), done.stderr
    assert Path(done.stdout.splitlines()[-1]).read_bytes() == MODEL
    assert "canary" not in refused.stdout + refused.stderr + done.stdout + done.stderr


def test_a_credentials_file_goes_before_it(host: str, tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {host: LOGIN}})
    file = write(tmp_path / "secret", f"username={USER}\npassword=wrong\nhosts=http://{host}\n")
    refused = fetch(tmp_path, host, f"--credentials-file={file}", "--dry-run")
    assert "with the credential that was sent (401)" in refused.stderr
    file.write_text(file.read_text().replace("wrong", PASSWORD))
    assert fetch(tmp_path, host, f"--credentials-file={file}", "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("file", "variable", "value"),
    [
        ("elsewhere/config.json", "DOCKER_CONFIG", "elsewhere"),
        ("run/containers/auth.json", "XDG_RUNTIME_DIR", "run"),
        (".config/containers/auth.json", "LANG", ""),
        ("any.json", "REGISTRY_AUTH_FILE", "any.json"),
    ],
)
def test_a_login_is_found_where_docker_and_podman_keep_it(
    host: str, tmp_path: Path, file: str, variable: str, value: str
) -> None:
    """Without TLS it goes to this machine only, as with docker. A file without a login for the registry is passed."""
    write(tmp_path / ".docker/config.json", {"auths": {"other.example": LOGIN}})
    write(tmp_path / file, {"auths": {f"{host}/team": LOGIN}})
    done = fetch(tmp_path, host, "--dry-run", **{variable: str(tmp_path / value)})
    assert done.returncode == 0, done.stderr


def test_a_helper_is_asked_for_the_login(host: str, tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {host: {}}, "credHelpers": {host: "keys"}})
    done = fetch(tmp_path, host, "--dry-run", PATH=helper(tmp_path / "bin", HELPER.format(host=host)))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "can't be run (No such file or directory)"),
        ("#!/bin/sh\necho canary", "gave no login in its answer"),
        ("#!/bin/sh\necho 'credentials not found in native keychain'; exit 1", None),
    ],
    ids=["is missing", "answers wrongly", "has none"],
)
def test_without_its_helper_an_artifact_is_asked_for_without_a_login(
    tmp_path: Path, text: str, says: str | None
) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "keys"})
    with registry.running(tmp_path) as url:
        pusher = Pusher(url, "team/tiny")
        pusher.artifact("v1", [pusher.blob(MODEL, GGUF)])
        path = helper(tmp_path / "bin", text) if text else os.environ["PATH"]
        done = fetch(tmp_path, url.removeprefix("http://"), "--dry-run", PATH=path)
    assert done.returncode == 0, done.stderr
    note = f"docker-credential-keys, which {tmp_path}/.docker/config.json names, {says}\n" if says else ""
    assert done.stderr == note


async def logins(tmp_path: Path, ref: str, content: object, *, direct: bool = True) -> tuple[object, tuple[str, ...]]:
    file = write(tmp_path / "config.json", content)
    found = await login_for(OciRef.parse(ref), [tmp_path / "missing.json", file], direct=direct)
    return found.credentials and (found.credentials.logins, found.credentials.origins), found.notes


@pytest.mark.parametrize(
    ("registry_host", "direct", "origins"),
    [
        ("r.example:5000", True, ("https://r.example:5000",)),
        ("docker.io", True, ("https://docker.io",)),
        ("localhost:5000", True, ("https://localhost:5000", "http://localhost:5000")),
        ("localhost:5000", False, ("https://localhost:5000",)),
        ("10.0.0.1:5000", True, ("https://10.0.0.1:5000",)),
    ],
)
async def test_a_login_is_for_its_registry_and_without_tls_on_this_machine_only(
    tmp_path: Path, registry_host: str, direct: bool, origins: tuple[str, ...]
) -> None:
    found, notes = await logins(
        tmp_path, f"oci://{registry_host}/team/tiny", {"auths": {registry_host: LOGIN}}, direct=direct
    )
    assert found == ((RegistryLogin(origins[0], USER, PASSWORD),), origins)
    assert notes == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("canary", "is no configuration of docker: it is not used"),
        ({"auths": {"r.example": {"auth": "canary!"}}}, "has no usable login for r.example: it is not used"),
        ({"credsStore": "../canary"}, "the credential helper '../canary', which "),
        ({"credsStore": "\x1b[2J\u202ekeys"}, r"helper '\x1b[2J\u202ekeys', which "),
    ],
)
async def test_what_can_not_be_used_is_a_note(tmp_path: Path, content: object, says: str) -> None:
    found, (note,) = await logins(tmp_path, "oci://r.example/team/tiny", content)
    assert found is None
    assert says in note
    assert note.isprintable()


async def test_a_helper_that_waits_for_someone_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", helper(tmp_path / "bin", "#!/bin/sh\nexec sleep 600"))
    file = write(tmp_path / "config.json", {"credsStore": "keys", "auths": {"r.example": LOGIN}})
    found = await login_for(OciRef.parse("oci://r.example/team/tiny"), [file], direct=True, helper_seconds=0.2)
    assert found.notes == (f"docker-credential-keys, which {file} names, did not answer in 0.2 s",)
    assert found.credentials is not None, "what the file itself has is used"


def test_the_files_are_those_of_docker_and_podman() -> None:
    environment = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/user/1"}
    assert [str(file) for file in files(lambda name: environment.get(name, ""))] == [
        "/home/me/.docker/config.json",
        "/run/user/1/containers/auth.json",
        "/home/me/.config/containers/auth.json",
    ]
