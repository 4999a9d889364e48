"""Models on a web server (nginx): own credentials before anything is shared, a file that changes, no secret shown."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.api import ApiError
from tests.support import nginx
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.models import private_content
from tests.support.programs import eventually
from tests.support.stand import Stand

MIB = 1024**2
PASSWORD = "basic-canary"  # that of `nginx.serving`
SLOW = """
location /slow/ { limit_rate 2m; auth_basic models; auth_basic_user_file USERS; }
location /login/ { default_type text/html; return 200 '<html>log in</html>'; }
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    found = tmp_path / "files"
    for name in ("private", "slow", "upload"):
        (found / name).mkdir(parents=True)
    (found / "private/model.gguf").write_bytes(tiny_gguf())
    write_gguf(found / "slow/model.gguf", size=24 * MIB)
    return found


@pytest.fixture
def server(bench: Stand, files: Path, tmp_path: Path) -> Iterator[str]:
    with nginx.serving(files, tmp_path, SLOW.replace("USERS", str(tmp_path / "users"))) as url:
        hosts = {"models.rbee.dev/hosts": url}
        bench.secret("reader", {"username": "reader", "password": PASSWORD}, hosts)
        bench.secret("wrong", {"username": "reader", "password": "wrong-canary"}, hosts)
        bench.secret(
            "elsewhere", {"username": "reader", "password": PASSWORD}, {"models.rbee.dev/hosts": "other.example"}
        )
        bench.secret("nowhere", {"username": "reader", "password": PASSWORD})
        bench.start_operator("--allow-host=127.0.0.1")
        yield url


def ask(bench: Stand, name: str, ref: str, secret: str | None = None, **spec: object) -> None:
    named = {"credentialsSecretRef": {"name": secret}} if secret else {}
    bench.apply(name, modelRef=ref, **named, **spec)


def test_a_protected_file_is_ready_only_for_an_object_with_a_password_of_its_own(bench: Stand, server: str) -> None:
    ref = f"{server}/private/model.gguf"
    ask(bench, "reader", ref, "reader")
    found = bench.until("reader", "Available")["status"]["model"]
    assert found["path"] == f"http/127.0.0.1+{server.rpartition(':')[2]}/private/model.gguf"
    assert found["digestSource"] == "Computed"
    assert found["revision"].startswith('"')
    ends = {
        "anonymous": (None, "AccessDenied", "without a credential"),
        "wrong": ("wrong", "AccessDenied", "with the credential that was sent"),
        "elsewhere": ("elsewhere", "AccessDenied", "without a credential"),
        "nowhere": ("nowhere", "SecretNotFound", "annotate it with models.rbee.dev/hosts=127.0.0.1:"),
    }
    for name, (secret, reason, says) in ends.items():
        ask(bench, name, ref, secret)
        bench.until(name, reason)
        assert says in bench.ready(name)["message"]
    ask(bench, "second", ref, "reader")
    bench.until("second", "Available")
    assert len(bench.published()) == 1
    no_secret_is_shown(bench)


def test_a_login_page_is_no_model(bench: Stand, server: str) -> None:
    ask(bench, "page", f"{server}/login/model.gguf")
    bench.until("page", "NotGGUF")
    assert "most likely to log in" in bench.ready("page")["message"]


def test_a_file_that_is_replaced_on_the_way_is_fetched_anew(bench: Stand, server: str, files: Path) -> None:
    ask(bench, "model", f"{server}/slow/model.gguf", "reader", maxBytesPerSecond="1Mi")  # 24 s
    eventually(lambda: bench.get("model").get("status", {}).get("progress", {}).get("bytes", 0) > MIB, "bytes come")
    before = bench.get("model")["status"]["model"]
    replacement = write_gguf(files / "new.gguf", size=16 * MIB, seed=7)
    content = replacement.read_bytes()
    os.replace(replacement, files / "slow/model.gguf")  # noqa: PTH105 - as rsync does
    bench.patch("model", {"maxBytesPerSecond": None})
    after = bench.until("model", "Available", 90)["status"]["model"]
    assert after["revision"] != before["revision"]
    assert after["sizeBytes"] == len(content)
    assert (bench.volume / after["path"]).read_bytes() == content


def test_an_endpoint_is_refused_for_a_web_server(bench: Stand, server: str) -> None:
    with pytest.raises(ApiError, match="must be left out, as the `modelRef` says itself what is asked"):
        ask(bench, "model", f"{server}/upload/model.gguf", endpoint="https://hub.example")


def no_secret_is_shown(bench: Stand) -> None:
    objects = bench.cluster.api.get(f"/apis/models.rbee.dev/v1alpha1/namespaces/{bench.namespace}/modeldownloads")
    events = bench.cluster.api.get(f"/api/v1/namespaces/{bench.namespace}/events")
    shown = (
        json.dumps([objects, events, bench.catalog()])
        + bench.operator_output()
        + private_content(bench.volume).decode("latin-1")
    )
    assert "canary" not in shown
