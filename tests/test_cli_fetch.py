"""`model-provisioner fetch` as a real process with a real hub: its output, exit code and files."""

import hashlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from model_provisioner import cli
from tests.support.gguf_headers import STRING, header, pair, string, tensor
from tests.support.ggufs import tiny_gguf, tiny_projector
from tests.support.hub import Hub
from tests.support.models import files_below, private_files, put
from tests.support.volumes import needs_root, small_volume

NAME = "owner/Model-GGUF"
REF = f"hf:{NAME}"
MODEL = "model.Q4_K_M.gguf"
PATH = f"hf/{NAME}/{MODEL}"
MIB = 1024 * 1024
CONTENT = tiny_gguf(size=4 * MIB)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.repository(NAME).add(MODEL, CONTENT)
        yield hub


def command(hub: Hub, *arguments: str) -> list[str]:
    """The content host is another origin, on another port of the same machine."""
    content = hub.content_origin.removeprefix("https://")
    flags = ["--endpoint", hub.endpoint, "--allow-host", content, "--ca-file", str(hub.ca_file)]
    return [sys.executable, "-m", "model_provisioner.cli", "fetch", *arguments, *flags]


def fetch(hub: Hub, *arguments: str, token: str | None = None) -> "subprocess.CompletedProcess[str]":
    return run(command(hub, *arguments), token)


def run(arguments: list[str], token: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(arguments, check=False, capture_output=True, text=True, env=environment(token), timeout=60)


def environment(token: str | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    return own | ({"HF_TOKEN": token} if token else {})


def test_the_path_is_printed_last_and_alone(hub: Hub, tmp_path: Path) -> None:
    done = fetch(hub, REF, "--to", str(tmp_path / "models"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/models/{PATH}\n")
    assert (tmp_path / "models" / PATH).read_bytes() == CONTENT
    assert not private_files(tmp_path / "models", "parts")
    assert not private_files(tmp_path / "models", "holders")


def test_a_second_time_no_byte_is_fetched(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, REF, "--to", str(tmp_path))
    hub.clear_log()
    assert fetch(hub, f"hf://{NAME}", "--to", str(tmp_path)).returncode == 0
    assert hub.bytes_sent() == 0


def test_a_dry_run_tells_all_and_writes_nothing(hub: Hub, tmp_path: Path) -> None:
    done = fetch(hub, REF, "--to", str(tmp_path / "models"), "--dry-run")
    assert done.returncode == 0
    for part in (REF, PATH, "4 MiB", DIGEST):
        assert part in done.stdout
    assert done.stdout.splitlines()[-1] == f"{tmp_path}/models/{PATH}"
    assert not (tmp_path / "models").exists()
    assert hub.bytes_sent() == 0


def test_the_path_of_the_projector_is_printed_before_that_of_the_model(hub: Hub, tmp_path: Path) -> None:
    projector = tiny_projector()
    repository = hub.repository(NAME)
    repository.add(MODEL, CONTENT)
    repository.add("mmproj-F16.gguf", projector)
    paths = [f"{tmp_path}/hf/{NAME}/mmproj-F16.gguf", f"{tmp_path}/{PATH}"]
    dry = fetch(hub, REF, "--to", str(tmp_path), "--projector", "--dry-run")
    assert dry.stdout.splitlines()[-2:] == paths
    done = fetch(hub, REF, "--to", str(tmp_path), "--projector")
    assert (done.returncode, done.stdout.splitlines()) == (0, paths)
    assert [Path(path).read_bytes() for path in paths] == [projector, CONTENT]
    document = json.loads(fetch(hub, REF, "--to", str(tmp_path), "--projector", "--json").stdout)
    assert [document["projector"], document["path"]] == paths


def test_json_is_one_document(hub: Hub, tmp_path: Path) -> None:
    dry = json.loads(fetch(hub, REF, "--to", str(tmp_path), "--dry-run", "--json").stdout)
    done = json.loads(fetch(hub, REF, "--to", str(tmp_path), "--json").stdout)
    assert done["path"] == f"{tmp_path}/{PATH}"
    assert done["files"] == [{"path": PATH, "sizeBytes": len(CONTENT), "digest": DIGEST}]
    assert done["gguf"]["quantization"] == "Q4_K_M"
    assert dry == {key: value for key, value in done.items() if key != "gguf"}


def test_a_model_with_tensor_types_of_another_program_is_fetched_with_a_warning(hub: Hub, tmp_path: Path) -> None:
    start = header((pair(b"general.architecture", STRING, string(b"llama")),), (tensor(b"a", (256, 64), kind=137),))
    content = start + bytes(-len(start) % 32) + os.urandom(64 * 76)
    hub.repository("owner/IK-GGUF").add("model-IQ2_K.gguf", content)
    done = fetch(hub, "hf:owner/IK-GGUF", "--to", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gguf"]["unknownTensorTypes"] == [137]
    assert "llama.cpp does not know its tensor type 137; load it with" in done.stderr
    assert (tmp_path / "hf/owner/IK-GGUF/model-IQ2_K.gguf").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["hf:owner/missing"], "SourceNotFound"),
        ([f"{REF}:Q8_0"], "SourceNotFound"),
        (["nonsense"], "InvalidRef"),
        ([REF, "--digest", f"sha256:{'0' * 64}"], "DigestMismatch"),
        (["local:mine.gguf"], "SourceNotFound"),
    ],
)
def test_an_error_is_named_on_the_last_line(hub: Hub, tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = fetch(hub, *arguments, "--to", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"{reason}: ")
    assert not files_below(tmp_path)


def test_an_error_is_in_the_json_too(hub: Hub, tmp_path: Path) -> None:
    done = fetch(hub, "hf:owner/missing", "--to", str(tmp_path), "--json")
    assert json.loads(done.stdout)["error"] == "SourceNotFound"
    assert json.loads(done.stdout)["message"] in done.stderr


@pytest.mark.parametrize("body", [b"<!doctype html><title>Sign in</title>", b"[]", b'{"siblings": [{"size": "1"}]}'])
def test_an_answer_of_another_shape_is_in_the_json_too(hub: Hub, tmp_path: Path, body: bytes) -> None:
    hub.fail(200, times=None, where="api", body=body)
    done = fetch(hub, REF, "--to", str(tmp_path), "--json", "--retries", "0")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]) == (1, "SourceUnavailable")
    assert hub.endpoint in document["message"]
    assert "Traceback" not in done.stderr


def test_a_person_is_told_of_no_cluster(hub: Hub, tmp_path: Path) -> None:
    hub.repository(NAME, gated=True).add(MODEL, CONTENT)
    told = fetch(hub, REF, "--to", str(tmp_path)).stderr.splitlines()[-1]
    assert told.endswith("and give that account's token (in the environment as HF_TOKEN)")
    hub.repository(NAME).add(MODEL, CONTENT)
    hub.corrupt(MODEL, 50_000)
    told = fetch(hub, REF, "--to", str(tmp_path)).stderr.splitlines()[-1]
    assert told.startswith("DigestMismatch: ")
    assert "spec" not in told
    assert "annotat" not in told


def test_what_may_pass_is_tried_again_and_told(hub: Hub, tmp_path: Path) -> None:
    hub.fail(429, where="resolve", headers={"Retry-After": "1"}, times=2)
    done = fetch(hub, REF, "--to", str(tmp_path))
    assert done.returncode == 0
    told = [line for line in done.stderr.splitlines() if line.startswith("RateLimited")]
    assert len(told) == 2
    assert re.search(r"trying again in [1-3]s \(2 of 5\)$", told[1])


@needs_root
def test_modes_are_settings(hub: Hub, tmp_path: Path) -> None:
    flags = ["--directory-mode", "0775", "--file-mode", "0664", "--group", "4711"]
    assert fetch(hub, REF, "--to", str(tmp_path), *flags).returncode == 0
    found = (tmp_path / PATH).stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o664, 4711)
    assert fetch(hub, REF, "--to", str(tmp_path), "--file-mode", "rw").returncode == 2


def test_retries_end(hub: Hub, tmp_path: Path) -> None:
    hub.fail(429, where="resolve", headers={"Retry-After": "1"}, times=None)
    done = fetch(hub, REF, "--to", str(tmp_path), "--retries", "1")
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["RateLimited", "RateLimited"]


def test_a_hub_that_is_down(hub: Hub, tmp_path: Path) -> None:
    hub.down()
    done = fetch(hub, REF, "--to", str(tmp_path), "--retries", "0")
    assert done.stderr.splitlines()[-1].startswith("SourceUnavailable: no connection to https://127.0.0.1")


def test_a_volume_that_is_too_small(hub: Hub, tmp_path: Path) -> None:
    with small_volume(tmp_path / "small", 2 * MIB) as root:
        done = fetch(hub, REF, "--to", str(root))
    assert done.stderr.splitlines()[-1].startswith("InsufficientStorage: ")
    assert hub.bytes_sent() == 0


def test_a_directory_that_cannot_be_made(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = fetch(hub, REF, "--to", str(tmp_path / "file" / "models"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("PathConflict: could not make the directory")


@pytest.mark.parametrize("obstacle", ["a symbolic link", "a directory", "a file"])
def test_what_is_in_the_way_is_reported_before_a_byte_is_fetched(hub: Hub, tmp_path: Path, obstacle: str) -> None:
    there = tmp_path / (PATH if obstacle != "a file" else f"hf/{NAME}")
    there.parent.mkdir(parents=True)
    make = {"a symbolic link": lambda: there.symlink_to("elsewhere"), "a directory": there.mkdir, "a file": there.touch}
    make[obstacle]()
    done = fetch(hub, REF, "--to", str(tmp_path))
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"PathConflict: {there.relative_to(tmp_path)} is {obstacle}, and ")
    assert told.endswith("remove or rename it on the volume")
    assert hub.bytes_sent() == 0


def test_the_endpoint_is_allowed_and_other_hosts_are_not(hub: Hub, tmp_path: Path) -> None:
    flags = ["--endpoint", hub.endpoint, "--ca-file", str(hub.ca_file)]
    arguments = [sys.executable, "-m", "model_provisioner.cli", "fetch", REF, "--to", str(tmp_path), *flags]
    done = run(arguments)
    assert done.stderr.splitlines()[-1].startswith("AddressNotAllowed: 127.0.0.1 is a loopback address")
    done = run([*arguments, "--allow-network", "127.0.0.0/8"])
    assert done.returncode == 0


def test_a_token_is_used_and_never_shown(hub: Hub, tmp_path: Path) -> None:
    hub.repository(NAME, private=True, tokens=frozenset({"hf_canary"})).add(MODEL, CONTENT)
    assert fetch(hub, REF, "--to", str(tmp_path)).returncode == 1
    done = fetch(hub, REF, "--to", str(tmp_path), "--send-token", token="hf_canary")
    wrong = fetch(hub, REF, "--to", str(tmp_path), "--send-token", token="hf_canary_wrong")
    assert done.returncode == 0
    assert wrong.stderr.startswith("AccessDenied: ")
    assert "canary" not in done.stdout + done.stderr + wrong.stdout + wrong.stderr
    assert not any(request.authorization for request in hub.log if request.origin == "content")


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--json", "--dry-run"]])
def test_a_token_that_the_hub_sends_back_is_not_shown(hub: Hub, tmp_path: Path, arguments: list[str]) -> None:
    token = "hf_canary0123456789"
    hub.repository(NAME, tokens=frozenset({token})).add(f"{token}.Q4_K_M.gguf", CONTENT)
    hub.fail(503, where="api", times=1, headers={"X-Error-Message": f"{'x' * 185}{token}", "Retry-After": "1"})
    hub.fail(503, where="api", times=1, headers={"X-Error-Message": quote(f"you sent {token}"), "Retry-After": "1"})
    flags = ["--send-token", "--retries", "2", *arguments]
    done = fetch(hub, REF, "--to", str(tmp_path), *flags, token=token)
    assert done.returncode == 1
    assert "revoke the token" in done.stderr
    assert not [at for at in range(len(token) - 8) if token[at : at + 9] in done.stdout + done.stderr]
    assert not files_below(tmp_path)


@pytest.mark.parametrize("token", ["hf_canary\nX-Injected: 1", "hf_canary\u00e9", "hf_canary\x7f", "hf_canary\udcff"])
def test_a_token_that_is_none_is_told_without_showing_it(hub: Hub, tmp_path: Path, token: str) -> None:
    done = fetch(hub, REF, "--to", str(tmp_path), "--send-token", token=token)
    assert done.returncode == 1
    assert done.stderr.startswith("AccessDenied: the token holds a line break or another character that no token has")
    assert "canary" not in done.stdout + done.stderr
    assert not hub.log


def test_no_process_of_the_program_writes_its_memory_to_a_file_when_it_crashes(hub: Hub, tmp_path: Path) -> None:
    """A core dump would have the token. The shell raises the limit, as an administrator's settings may."""
    gate = hub.pause_at(MIB)
    shell = ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', "sh"]
    with subprocess.Popen([*shell, *command(hub, REF, "--to", str(tmp_path))], stderr=subprocess.DEVNULL) as process:
        gate.wait_reached()
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.send_signal(signal.SIGINT)
    assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.MULTILINE), limits


def test_a_token_is_not_sent_to_another_hub_than_the_own_one_and_that_is_said_once(hub: Hub, tmp_path: Path) -> None:
    hub.fail(503, where="api", headers={"Retry-After": "1"}, times=2)
    done = fetch(hub, REF, "--to", str(tmp_path), token="hf_canary")
    assert done.returncode == 0, done.stderr
    assert not any(request.authorization for request in hub.log)
    first, *others = done.stderr.splitlines()
    assert len(others) == 2
    assert first.startswith(f"HF_TOKEN is not sent to {hub.endpoint}: ")
    assert first.endswith("--send-token sends it there")
    assert not any("HF_TOKEN" in line for line in others)


@pytest.mark.parametrize("access", ["private", "gated", "forbidden"])
def test_a_refusal_without_the_token_names_the_flag_that_sends_it(hub: Hub, tmp_path: Path, access: str) -> None:
    tokens = frozenset({"hf_canary"})
    hub.repository(NAME, private=access == "private", gated=access == "gated", tokens=tokens).add(MODEL, CONTENT)
    if access == "forbidden":
        hub.fail(403, where="api", times=None)
    done = fetch(hub, REF, "--to", str(tmp_path), "--json", token="hf_canary")
    assert done.returncode == 1
    advice = f" (HF_TOKEN was not sent to {hub.endpoint}: --send-token sends it there)"
    assert done.stderr.splitlines()[-1].endswith(advice)
    assert json.loads(done.stdout)["message"].endswith(advice)
    assert not any(request.authorization for request in hub.log)
    if access != "forbidden":
        assert fetch(hub, REF, "--to", str(tmp_path), "--send-token", token="hf_canary").returncode == 0


@pytest.mark.parametrize("arguments", [["local:mine.gguf"], [REF]])
def test_a_token_that_is_not_needed_or_not_there_is_not_spoken_of(
    hub: Hub, tmp_path: Path, arguments: list[str]
) -> None:
    put(tmp_path, "local/mine.gguf", CONTENT)
    token = "hf_canary" if arguments == ["local:mine.gguf"] else None
    assert "HF_TOKEN" not in fetch(hub, *arguments, "--to", str(tmp_path), token=token).stderr


@pytest.mark.parametrize("flag", [[], ["--endpoint", "{hub}/"]])
def test_the_hub_of_the_environment_gets_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: list[str]
) -> None:
    hub.repository(NAME, private=True, tokens=frozenset({"hf_canary"})).add(MODEL, CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    flags = [
        "--allow-host",
        "127.0.0.1",
        "--ca-file",
        str(hub.ca_file),
        *(part.format(hub=hub.endpoint) for part in flag),
    ]
    done = run([*command(hub)[:4], REF, "--to", str(tmp_path), *flags], "hf_canary")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_hub_without_tls_on_this_machine_gets_the_token_if_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub(tls=False) as hub:
        hub.repository(NAME, private=True, tokens=frozenset({"hf_canary"})).add(MODEL, CONTENT)
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        fetched = [*command(hub)[:4], REF, "--to", str(tmp_path), "--allow-host", "127.0.0.1"]
        assert run(fetched, "hf_canary").returncode == 0
        monkeypatch.setenv("HF_ENDPOINT", "https://127.0.0.1:1")
        hub.clear_log()
        assert run([*fetched, "--dry-run", "--endpoint", hub.endpoint], "hf_canary").returncode == 1
        assert not any(request.authorization for request in hub.log)


def test_a_local_file_is_verified(hub: Hub, tmp_path: Path) -> None:
    put(tmp_path, "local/mine.gguf", CONTENT)
    done = fetch(hub, "local:mine.gguf", "--to", str(tmp_path), "--digest", DIGEST)
    assert done.stdout == f"{tmp_path}/local/mine.gguf\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_part_and_says_so(hub: Hub, tmp_path: Path, number: signal.Signals) -> None:
    gate = hub.pause_at(3 * MIB)
    with subprocess.Popen(command(hub, REF, "--to", str(tmp_path)), stderr=subprocess.PIPE, text=True) as process:
        gate.wait_reached()
        wait_for_bytes(tmp_path, 2 * MIB)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.splitlines()[-1].startswith("stopped; what was fetched is kept")
    hub.clear_faults()
    hub.clear_log()
    assert fetch(hub, REF, "--to", str(tmp_path)).returncode == 0
    assert hub.bytes_sent() <= len(CONTENT) - 2 * MIB


def wait_for_bytes(directory: Path, size: int) -> None:
    """Waits until the part occupies `size` bytes: received bytes may not be written yet."""
    deadline = time.monotonic() + 60
    while sum(part.stat().st_blocks * 512 for part in (directory / ".provisioner" / "parts").glob("*.part")) < size:
        assert time.monotonic() < deadline, "too few bytes were written"
        time.sleep(0.01)


def test_a_terminal_gets_a_bar_with_speed_and_time_left(hub: Hub, tmp_path: Path) -> None:
    shown = on_a_terminal(command(hub, REF, "--to", str(tmp_path), "--max-bytes-per-second", "4Mi"))
    assert "█" in shown
    assert "MiB/s" in shown
    assert "left" in shown
    assert shown.splitlines()[-1].endswith(f"{tmp_path}/{PATH}")


def on_a_terminal(arguments: list[str]) -> str:
    """The output of a command that runs on a terminal."""
    controller, terminal = pty.openpty()
    shown = bytearray()
    with subprocess.Popen(arguments, stdout=terminal, stderr=terminal, env=environment(None)) as process:
        os.close(terminal)
        while chunk := _read(controller):
            shown += chunk
        assert process.wait(60) == 0
    os.close(controller)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other side was closed
        return b""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fetch"], "REF --to DIR"),
        (["fetch", REF], "REF --to DIR"),
        (["fetch", REF, "--to", "x", "--connections", "17"], "from 1 to 16"),
        (["fetch", REF, "--to", "x", "--max-bytes-per-second", "fast"], "fast"),
        (["fetch", REF, "--to", "x", "--max-bytes-per-second", "0"], "at least one byte"),
        (["fetch", REF, "--to", "x", "--digest", "abc"], "is not a digest"),
        (["fetch", REF, "--to", "x", "--allow-network", "10"], "is not a network"),
        (["fetch", REF, "--to", "x", "--allow-host", "a b"], "is not HOST"),
        (["fetch", REF, "--to", "x", "--timeout", "0"], "'0' is not a number of seconds from 1 to 3600"),
        (["fetch", REF, "--to", "x", "--timeout", "3601"], "from 1 to 3600"),
        (["fetch", REF, "--to", "x", "--timeout", "90s"], "from 1 to 3600"),
        (["fetch", REF, "--to", "x", "--no-proxy", "a b,10.*"], "'10.*' is not HOST"),
        (["fetch", REF, "--to", "x", "--ca-file", "/nothing"], "No such file"),
        (["fetch", REF, "--to", "x", "--ca-file", __file__], "not a file of certificates"),
        (["fetch", REF, "--to", "x", "--endpoint", "ftp://hub"], "'ftp' is not a scheme"),
        ([], "COMMAND"),
        (["unheard-of"], "unheard-of"),
    ],
)
def test_a_wrong_flag_says_what_to_write(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_the_time_until_an_answer_begins_is_a_flag(hub: Hub, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        flags = ["--endpoint", endpoint, "--timeout", "1", "--retries", "0"]
        done = run([*command(hub)[:4], REF, "--to", str(tmp_path), *flags])
    assert done.returncode == 1
    assert f"TransferStalled: {endpoint} did not begin to answer within 1 seconds" in done.stderr
    refused = fetch(hub, REF, "--to", str(tmp_path), "--timeout", "0")
    assert refused.returncode == 2
    assert "not a number of seconds from 1 to 3600" in refused.stderr


@pytest.mark.parametrize("end", ["", "/", "\n", " /\r\n"])
def test_hub_and_token_of_the_environment_may_end_in_white_space(hub: Hub, tmp_path: Path, end: str) -> None:
    hub.repository("owner/Private-GGUF", private=True, tokens=frozenset({"hf_right"})).add(MODEL, CONTENT)
    flags = ["--allow-host", "127.0.0.1", "--ca-file", str(hub.ca_file), "--to", str(tmp_path)]
    variables = {"HF_ENDPOINT": hub.endpoint + end.replace(" /", "/ "), "HF_TOKEN": "hf_right" + end.replace("/", "")}
    done = subprocess.run(
        [sys.executable, "-m", "model_provisioner.cli", "fetch", "hf:owner/Private-GGUF", *flags],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | variables,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/hf/owner/Private-GGUF/{MODEL}\n"), done.stderr


@pytest.mark.parametrize("in_environment", ["", " \n", "ftp://elsewhere.example"])
def test_the_flag_goes_before_the_hub_of_the_environment(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_environment: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", in_environment)
    assert fetch(hub, REF, "--to", str(tmp_path), "--dry-run").returncode == 0


@pytest.mark.parametrize(
    ("in_environment", "says"),
    [
        ("hub.example", "HF_ENDPOINT: the address of the hub has no scheme: write https://HOST"),
        ("ftp://hub.example", "HF_ENDPOINT: 'ftp' is not a scheme"),
        ("https://user:canary@hub.example", "HF_ENDPOINT: the address of the hub holds a user name or password"),
        ("https://hub example", "HF_ENDPOINT: an address holds spaces"),
    ],
)
def test_a_wrong_hub_in_the_environment_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_environment: str, says: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", in_environment)
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(["fetch", REF, "--to", "x"])
    printed = capsys.readouterr().err
    assert says in printed
    assert "canary" not in printed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_path_that_could_not_be_printed_is_no_success(hub: Hub, tmp_path: Path) -> None:
    arguments = command(hub, REF, "--to", str(tmp_path), "--dry-run")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            arguments,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def test_a_worker_takes_no_hub_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "ftp://hub.example")
    worker = [sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker"]
    done = subprocess.run(worker, check=False, capture_output=True, text=True, input="", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
