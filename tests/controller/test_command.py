"""Wrong settings for the proxy and for buckets, which the operator refuses before it starts anything."""

import argparse
import re
from pathlib import Path

import pytest

from model_provisioner.controller import command
from model_provisioner.settings.operator import OperatorSettings

PROXY = "http://proxy.example:3128"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--store=ai/models=/nonexistent", *arguments]))


CONNECT = ["--worker-connect=operator:8443", "--worker-image=example/mp:1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--worker-listen needs --worker-connect and --worker-image"),
        ([*CONNECT, "--proxy=@FILE", "--allow-host=hub.example"], "the password in the file of --proxy can be read"),
        ([*CONNECT, "--ca-file=/nowhere"], "No such file"),
        ([*CONNECT, "--worker-template={"], "--worker-template: .*JSON"),
        ([*CONNECT, '--worker-template={"hostNetwork": true}'], "hostNetwork"),
        ([*CONNECT, '--worker-template={"podSecurityContext": {"runAsUser": 0}}'], "podSecurityContext.runAsUser"),
        ([*CONNECT, '--worker-template={"podSecurityContext": {"runAsNonRoot": false}}'], "runAsNonRoot"),
        (
            [*CONNECT, '--worker-template={"annotations": {"models.rbee.dev/use": "x"}}'],
            "models.rbee.dev/use is set by",
        ),
        ([*CONNECT, '--worker-template={"labels": {"job-name": "x"}}'], "job-name is set by the operator or by"),
        ([*CONNECT, "--worker-max=0"], "--worker-max"),
    ],
)
def test_worker_pods_that_can_t_be_are_refused_at_the_start(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "proxy").write_text("http://user:canary@proxy.example:3128")
    arguments = [word.replace("@FILE", f"@{tmp_path / 'proxy'}") for word in arguments]
    assert run("--worker-listen=127.0.0.1:0", *arguments) == 2
    printed = capsys.readouterr().err
    assert re.search(says, printed)
    assert "canary" not in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([f"--proxy={PROXY}"], r"--proxy: a proxy hides which addresses.*--allow-host huggingface\.co:443"),
        (["--proxy=http://user:canary@proxy.example", "--allow-host=a.example"], "put its URL in a file, write @FILE"),
        (["--proxy=@/nonexistent/url", "--allow-host=a.example"], "can't be read from /nonexistent/url"),
        (["--proxy=socks5://proxy.example", "--allow-host=a.example"], "write http://HOST:PORT"),
        ([f"--proxy={PROXY}", "--allow-host=*.0.0.1"], r"--allow-host: .*is not \*\.NAME"),
    ],
)
def test_a_wrong_proxy_is_refused_at_the_start(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr().err
    assert re.search(says, printed)
    assert "canary" not in printed


@pytest.mark.parametrize(
    ("arguments", "buckets"),
    [
        ([], []),
        (["--ambient-credentials"], ["*"]),
        (["--ambient-credentials", "--slots=2"], ["*"]),
        (["--ambient-credentials=a-b", "--ambient-credentials=c.d"], ["a-b", "c.d"]),
    ],
)
def test_the_buckets_for_the_key_of_the_pod(arguments: list[str], buckets: list[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    settings = OperatorSettings(**vars(parser.parse_args(["--store=ai/models=/nonexistent", *arguments])))
    assert settings.ambient_credentials == buckets


def test_a_name_that_no_bucket_has_is_refused_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--ambient-credentials=Models") == 2
    assert "--ambient-credentials: 'Models' is not the name of a bucket" in capsys.readouterr().err
