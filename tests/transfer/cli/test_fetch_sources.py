"""`model-provisioner fetch` from a web server, with the credentials of a file, and the endpoints of each source."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_provisioner import cli
from model_provisioner.domain.credentials.secret_keys import AWS_KEYS
from model_provisioner.domain.errors import SecretNotFound
from model_provisioner.domain.refs.refs import ENDPOINTS, parse
from model_provisioner.transfer.cli.credentials import credentials_of, load
from model_provisioner.transfer.cli.tokens import tokens_of
from tests.support import buckets, nginx
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.pod_agent import pod_agent

MODEL = tiny_gguf()
CANARY = "query-canary-0123456789"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    files = tmp_path / "files"
    for name in ("private", "signed"):
        (files / name).mkdir(parents=True)
        (files / name / "model.gguf").write_bytes(MODEL)
    location = f"location /signed/ {{ if ($arg_sig != {CANARY}) {{ return 403; }} }}"
    with nginx.serving(files, tmp_path, location) as url:
        yield url


def fetch(tmp_path: Path, ref: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", ref, "--to", str(tmp_path / "models")]
    environment = {**os.environ, "HF_TOKEN": "hf_canary0123456789"}
    allowed = ["--allow-host", "127.0.0.1", *flags]
    return subprocess.run(
        [*command, *allowed], check=False, capture_output=True, text=True, env=environment, timeout=60
    )


def secret(tmp_path: Path, text: str) -> str:
    file = tmp_path / "secret"
    file.write_text(text)
    return f"--credentials-file={file}"


@pytest.mark.parametrize(
    ("directory", "text"),
    [
        ("private", "# a comment\n\nusername=reader\npassword=basic-canary\n"),
        ("signed", f"query=sv=1&sig={CANARY}\n"),
    ],
)
def test_a_file_has_the_keys_of_a_secret(server: str, tmp_path: Path, directory: str, text: str) -> None:
    ref = f"{server}/{directory}/model.gguf"
    refused = fetch(tmp_path, ref)
    assert (refused.returncode, refused.stderr.splitlines()[-1].partition(":")[0]) == (1, "AccessDenied")
    assert refused.stderr.rstrip().endswith("(with --credentials-file)")
    done = fetch(tmp_path, ref, secret(tmp_path, text))
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    assert path == tmp_path / f"models/http/127.0.0.1+{server.rpartition(':')[2]}/{directory}/model.gguf"
    assert path.read_bytes() == MODEL
    assert "canary" not in refused.stdout + refused.stderr + done.stdout + done.stderr


def test_the_hosts_of_the_file_are_those_that_get_it(server: str, tmp_path: Path) -> None:
    flag = secret(tmp_path, "username=reader\npassword=basic-canary\nhosts=elsewhere.example\n")
    done = fetch(tmp_path, f"{server}/private/model.gguf", flag)
    assert done.returncode == 1
    assert "without a credential" in done.stderr


def test_a_file_that_can_not_be_used_is_told_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        load(str(tmp_path / "missing"))
    file = tmp_path / "secret"
    file.write_text("canary\n")
    with pytest.raises(ValueError, match="a line that is not KEY=VALUE") as caught:
        load(str(file))
    assert "canary" not in str(caught.value)
    with pytest.raises(SecretNotFound, match="has none of the keys `token`"):
        credentials_of(parse("https://h/x.gguf"), {"password ": b"canary"}, "https://h")
    with pytest.raises(SecretNotFound, match="is not HOST or HOST:PORT"):
        credentials_of(parse("https://h/x.gguf"), {"token": b"canary", "hosts": b"https://h"}, "https://h")


def test_a_bucket_takes_the_access_key_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with buckets.versity(tmp_path) as server:
        server.put("models")
        server.put("models/team/m.Q4_K_M.gguf", MODEL)
        endpoint = f"--endpoint=s3={server.url}"
        for name in AWS_KEYS:
            monkeypatch.delenv(name, raising=False)
        refused = fetch(tmp_path, "s3://models/team/", endpoint)
        assert refused.returncode == 1
        assert "without an access key" in refused.stderr
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.keys.key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-another-key")
        wrong = fetch(tmp_path, "s3://models/team/", endpoint)
        assert "does not accept the signature" in wrong.stderr
        file = secret(tmp_path, f"AWS_ACCESS_KEY_ID={server.keys.key_id}\nAWS_SECRET_ACCESS_KEY={server.keys.secret}\n")
        assert fetch(tmp_path, "s3://models/team/", endpoint, file, "--dry-run").returncode == 0
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.keys.secret)
        done = fetch(tmp_path, "s3://models/team/", endpoint)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).read_bytes() == MODEL
    assert "canary" not in wrong.stdout + wrong.stderr + done.stdout + done.stderr


def test_a_bucket_takes_the_access_key_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the environment has none itself, as in all programs of Amazon's."""
    with buckets.moto() as server, pod_agent(server.keys, tmp_path / "token") as agent:
        server.put("private")
        server.put("private/m.Q4_K_M.gguf", tiny_gguf())
        for name, value in agent.environment.items():
            monkeypatch.setenv(name, value)
        endpoint = f"--endpoint=s3={server.url}"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.keys.key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.keys.secret)
        assert fetch(tmp_path, "s3://private/", endpoint, "--dry-run").returncode == 0
        assert agent.asked == []
        for name in AWS_KEYS:
            monkeypatch.delenv(name, raising=False)
        done = fetch(tmp_path, "s3://private/", endpoint)
        assert done.returncode == 0, done.stderr
        assert "canary" not in f"{done.stdout}{done.stderr}"
        assert agent.asked == [200]
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.169.254/latest")
        assert "AWS_CONTAINER" not in fetch(tmp_path, "local:missing.gguf").stderr
        told = fetch(tmp_path, "s3://private/", endpoint, "--dry-run")
        assert "AWS_CONTAINER_CREDENTIALS_FULL_URI is not at 169.254.170.23" in told.stderr
        assert agent.asked == [200]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--endpoint=oci=https://r.example"], "'oci' has no endpoint that can be set"),
        (["--endpoint=s3=minio"], "no scheme"),
    ],
)
def test_a_wrong_endpoint_is_told(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["fetch", "hf:a/b", "--to", "/tmp/x", *flags])
    assert says in capsys.readouterr().err


def test_a_model_of_modelscope_is_fetched_with_the_token_of_the_environment(tmp_path: Path) -> None:
    token = "modelscope-canary-0123456789"
    with Hub() as hub:
        hub.repository("owner/model", private=True, tokens=frozenset({token})).add("model.Q4_K_M.gguf", MODEL)
        content = hub.content_origin.removeprefix("https://")
        flags = ["--endpoint", f"modelscope={hub.endpoint}", "--allow-host", content, "--ca-file", str(hub.ca_file)]
        command = [sys.executable, "-m", "model_provisioner.cli", "fetch", "modelscope:owner/model"]
        command += ["--to", str(tmp_path), *flags]

        def run(*more: str, **tokens: str) -> "subprocess.CompletedProcess[str]":
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **tokens}
            return subprocess.run(
                [*command, *more], check=False, capture_output=True, text=True, env=environment, timeout=60
            )

        without = run(HF_TOKEN=token)
        assert without.stderr.splitlines()[-1].endswith("(in the environment as MODELSCOPE_API_TOKEN)")
        withheld = run(MODELSCOPE_API_TOKEN=token)
        assert withheld.stderr.startswith(f"MODELSCOPE_API_TOKEN is not sent to {hub.endpoint}: only modelscope.cn")
        assert not any(request.authorization for request in hub.log)
        done = run("--send-token", MODELSCOPE_API_TOKEN=token)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.splitlines()[-1]) == tmp_path / "modelscope/owner/model/model.Q4_K_M.gguf"
        assert not any(request.authorization for request in hub.log if request.origin == "content")
    assert "canary" not in "".join(one.stdout + one.stderr for one in (without, withheld, done))


@pytest.mark.parametrize(
    ("endpoint", "gets"),
    [
        ("https://modelscope.cn", True),
        ("https://www.modelscope.ai", True),
        ("http://modelscope.cn", False),
        ("https://modelscope.cn.example", False),
    ],
)
def test_the_token_is_for_the_hubs_of_modelscope(endpoint: str, gets: bool) -> None:
    endpoints = {**ENDPOINTS, "modelscope": endpoint}
    token = tokens_of(lambda name: f"{name} value", endpoints, None, send=False, direct=True)["modelscope"]
    assert token.variable in str(token.value)
    assert (token.credentials is not None) == gets
