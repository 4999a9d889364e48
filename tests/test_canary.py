"""Runs downloads to every end with secrets that are unique, then searches every output for these secrets.

Operator and gateway run behind a proxy with a password. Token, password and signatures are canaries, plain and in each
encoding. The hub sends the token back wherever text of it may be shown. A web server, a bucket and a registry get
secrets of every kind (`guarded_sources`). The output of a new part of the program must be added to `run_all`.
"""

import base64
import contextlib
import dataclasses
import importlib
import json
import os
import pkgutil
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

import model_provisioner
from deploy.local.cluster import Cluster
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.network.file_address import Address
from tests.gateway.caller import Caller, grant
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.guarded_sources import SECRETS, Guarded, Order, guarded_sources
from tests.support.programs import Program, eventually, free_port, running
from tests.support.proxy import Proxy
from tests.support.stand import GROUP_VERSION, Stand, stand

MIB = 1024**2
TOKEN = f"hf_canary{secrets.token_hex(12)}"
WRONG_TOKEN = f"hf_canary{secrets.token_hex(12)}"
PASSWORD = f"canary:{secrets.token_hex(12)}/@"
SIGNATURE = f"canary{secrets.token_hex(12)}"
CALLERS_TOKEN = f"canary{secrets.token_hex(12)}"
MALFORMED = (
    f"{CALLERS_TOKEN}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {CALLERS_TOKEN}\r\nno header\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {CALLERS_TOKEN}\0\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {CALLERS_TOKEN}{'x' * 9000}\r\n\r\n",
    f"GET /v1/models/download/progress?ticket={CALLERS_TOKEN} HTTP/1.1 x\r\n\r\n",
    f"GET /v1/models/download/progress?ticket={CALLERS_TOKEN}{'x' * 20_000} HTTP/1.1\r\nHost: a\r\n\r\n",
    f"GET ticket={CALLERS_TOKEN} HTTP/1.1\r\nHost: a\r\n\r\n",
)
ENDS = {
    "good": ("hf:acme/good", "Available"),
    "crashed": ("hf:acme/crashed", "Available"),
    "expired": ("hf:acme/expired", "Available"),
    "denied": ("hf:acme/good", "AccessDenied"),
    "damaged": ("hf:acme/damaged", "DigestMismatch"),
    "page": ("hf:acme/page", "NotGGUF"),
    "elsewhere": ("hf:acme/elsewhere", "AddressNotAllowed"),
    "said": ("hf:acme/said", "AccessDenied"),
    "said-of-a-file": ("hf:acme/said-of-a-file", "AccessDenied"),
    "named": ("hf:acme/named", "SourceUnavailable"),
    "listed": ("hf:acme/listed", "AmbiguousModel"),
    "unstorable": ("hf:acme/unstorable", "UnsupportedSource"),
    "redirected": ("hf:acme/redirected", "AddressNotAllowed"),
}
ECHOING = {
    "said": ("model.Q4_K_M.gguf",),
    "said-of-a-file": ("model.Q4_K_M.gguf",),
    "named": (f"{TOKEN}.Q4_K_M.gguf",),
    "listed": (f"a{TOKEN}.Q4_K_M.gguf", f"b{base64.b64encode(TOKEN.encode()).decode()}.Q4_K_M.gguf"),
    "unstorable": (f"{TOKEN}\x01.Q4_K_M.gguf",),
    "redirected": ("model.Q4_K_M.gguf",),
}
"""The repositories of a hub that sends the token back, and their files."""


SECRET_FIELDS = frozenset({"token", "password", "username", "document", "identity_token", "session_token", "secret"})
"""Names of fields of dataclasses that hold a secret."""
SECRETS_OF = {Credentials: {"query", "headers"}, Address: {"url", "headers"}}
"""Fields whose names do not say so in other classes."""


def spellings(secret: str) -> set[str]:
    """Plain, as in a header, and as in a URL. Only the beginning of a long secret: a message may be cut."""
    encoded = {
        secret,
        quote(secret, safe=""),
        quote(secret),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode().rstrip("=")[:-1],
        secret.encode().hex(),
    }
    return {text[:24] for text in encoded}


def parts(token: str) -> set[str]:
    """A message that is cut has a part of the token, and a host name has it in another spelling."""
    return {spelled[at : at + 12] for spelled in (token, token.replace("_", "-")) for at in range(len(token) - 11)}


def found_in(text: str, needles: set[str]) -> list[str]:
    """The text around each find."""
    places = ((needle, text.find(needle)) for needle in needles)
    return [text[max(0, at - 80) : at + len(needle) + 20] for needle, at in places if at >= 0]


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Stand]:
    with stand(cluster, namespace, tmp_path) as made:
        made.secret("good", {"token": TOKEN})
        made.secret("wrong", {"token": WRONG_TOKEN})
        for name in ("good", "expired", "damaged", "elsewhere", "crashed", "page"):
            repository = made.hub.repository(f"acme/{name}", private=True, tokens=frozenset({TOKEN}))
            repository.add(f"{name}.Q4_K_M.gguf", content(name, tmp_path))
        for name, files in ECHOING.items():
            echoing = made.hub.repository(f"acme/{name}")
            for file in files:
                echoing.add(file, tiny_gguf(seed=9))
        yield made


def content(name: str, directory: Path) -> bytes | Path:
    if name == "crashed":
        return write_gguf(directory / "crashed.gguf", size=48 * MIB)
    if name == "page":
        return b"<!doctype html><title>log in</title>" * 1000
    return tiny_gguf(seed=len(name))


class Desk:
    """A gateway, and a client with all rights of a user."""

    def __init__(self, program: Program, url: str, token: str) -> None:
        self.program = program
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def get(self, path: str) -> str:
        """Status, headers and body of the answer."""
        return shown(self._client.get(path))

    def send_malformed(self) -> str:
        """Requests that no HTTP server understands, with the secrets that a caller sends: a token and a ticket."""
        found = []
        for request in MALFORMED:
            with socket.create_connection((self._client.base_url.host, self._client.base_url.port or 80), 30) as sender:
                sender.sendall(request.encode("latin-1"))
                with contextlib.suppress(ConnectionError):
                    found.append(sender.recv(65536).decode("latin-1"))
        return "".join(found)

    def post(self, path: str, body: dict[str, object]) -> str:
        return shown(self._client.post(path, json=body))

    @contextlib.contextmanager
    def recorded_stream(self) -> Iterator[list[str]]:
        """Records the event stream of all downloads while the block runs."""
        text: list[str] = []
        with self._client.stream("GET", "/v1/models/download/progress", timeout=None) as response:
            reader = threading.Thread(target=record, args=(response, text), daemon=True)
            reader.start()
            yield text


def record(response: httpx.Response, text: list[str]) -> None:
    with contextlib.suppress(httpx.HTTPError, httpx.StreamError):
        text.extend(response.iter_text())


def shown(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.headers} {answer.text}"


@pytest.fixture
def desk(bench: Stand, tmp_path: Path) -> Iterator[Desk]:
    cluster, namespace = bench.cluster, bench.namespace
    grant(cluster, namespace, "gateway", ["list", "watch"])
    grant(cluster, namespace, "editor", ["get", "list", "watch", "create", "patch", "delete"])
    listen = f"127.0.0.1:{free_port()}"
    flags = [
        "gateway",
        f"--listen={listen}",
        f"--kubeconfig={cluster.kubeconfig_for_service_account(namespace, 'gateway')}",
        f"--watch-namespace={namespace}",
        f"--default-namespace={namespace}",
    ]
    with running(flags, tmp_path / "gateway.log") as program:
        eventually(lambda: Caller(f"http://{listen}", None).reached("/readyz"), "the gateway is ready")
        yield Desk(program, f"http://{listen}", cluster.token(namespace, "editor"))


@pytest.mark.timeout(300)
def test_no_secret_shows_up_in_any_output(bench: Stand, desk: Desk, tmp_path: Path) -> None:
    with (
        Proxy(user="user", password=PASSWORD) as proxy,
        guarded_sources(bench, tmp_path) as guarded,
        desk.recorded_stream() as stream,
    ):
        everything = run_all(bench, desk, proxy, tmp_path, guarded)
        names = [*ENDS, *guarded.orders]
        eventually(
            lambda: all(f'"name":"{name}"' in "".join(stream).replace(" ", "") for name in names), "all streamed"
        )
        check_that_they_were_used(bench, proxy)
    everything["stream"] = "".join(stream)
    canaries = (
        TOKEN,
        WRONG_TOKEN,
        PASSWORD,
        f"user:{PASSWORD}",
        SIGNATURE,
        CALLERS_TOKEN,
        *bench.hub.signatures,
        *SECRETS,
    )
    needles = set[str]().union(*map(spellings, canaries), parts(TOKEN), parts(WRONG_TOKEN))
    assert "malformed request" in everything["gateway's log"]
    assert {place: finds for place, text in everything.items() if (finds := found_in(text, needles))} == {}


def run_all(bench: Stand, desk: Desk, proxy: Proxy, directory: Path, guarded: Guarded) -> dict[str, str]:
    """Runs a download to every end; returns each output, during the run and after it, by its name."""
    metrics = f"127.0.0.1:{free_port()}"
    operator = start_operator(bench, proxy, directory, metrics, guarded.flags)
    script_faults(bench)
    gate = bench.hub.pause_at(32 * MIB, "acme/crashed")
    of_hub = {name: Order(*end, "wrong" if name == "denied" else "good") for name, end in ENDS.items()}
    orders = of_hub | guarded.orders
    for name, order in orders.items():
        bench.apply(name, modelRef=order.ref, credentialsSecretRef={"name": order.secret})
    gate.wait_reached()
    meanwhile = shown_by_processes([operator.process.pid, *operator.children(), desk.program.process.pid])
    meanwhile |= {f"{place}, meanwhile": text for place, text in files_of(bench.volume).items()}
    for pid in operator.children():
        with contextlib.suppress(ProcessLookupError):  # a worker dies with its server
            os.kill(pid, signal.SIGKILL)
    gate.release()
    for name, order in orders.items():
        bench.until(name, order.reason, 120)
    meanwhile["operator's metrics"] = httpx.get(f"http://{metrics}/metrics").raise_for_status().text
    denied = sum(order.reason == "AccessDenied" for order in orders.values())
    assert f'failures_total{{reason="AccessDenied"}} {denied}' in meanwhile["operator's metrics"]
    operator.process.send_signal(signal.SIGTERM)
    operator.process.wait(60)
    return meanwhile | files_of(bench.volume) | kept_by_the_cluster(bench) | answers(desk) | logs(bench, desk)


def start_operator(bench: Stand, proxy: Proxy, directory: Path, metrics: str, flags: tuple[str, ...]) -> Program:
    address = directory / "proxy"
    address.write_text(f"http://user:{quote(PASSWORD, safe='')}@{proxy.host_port}")
    return bench.start_operator(f"--proxy=@{address}", "--slots=3", f"--metrics-listen={metrics}", *flags)


def script_faults(bench: Stand) -> None:
    hub = bench.hub
    hub.corrupt("damaged.Q4_K_M.gguf", 50_000)
    hub.fail(403, path="acme/expired")
    target = f"https://elsewhere.example/model?Signature={SIGNATURE}&X-Amz-Signature={SIGNATURE}"
    hub.fail(302, None, headers={"Location": target}, where="resolve", path="acme/elsewhere")
    words = (
        f"{'x' * 180} {TOKEN} Basic {base64.b64encode(f'user:{TOKEN}'.encode()).decode()} {quote(TOKEN[:9])}{TOKEN[9:]}"
    )
    hub.fail(403, None, headers={"X-Error-Message": words}, where="api", path="acme/said")
    hub.fail(403, None, headers={"X-Error-Message": words[180:]}, where="resolve", path="acme/said-of-a-file")
    host = TOKEN.replace("_", "-")
    hub.fail(302, None, headers={"Location": f"https://{host}.example/"}, where="api", path="acme/redirected")


def shown_by_processes(pids: list[int]) -> dict[str, str]:
    """Arguments and environment of processes, which others on the machine can read. A worker may have ended."""
    found = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for what in ("cmdline", "environ"):
                found[f"{what} of {pid}"] = Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace")
    return found


def files_of(volume: Path) -> dict[str, str]:
    """Names and content of journals, records and models, without the content of a file that is renamed meanwhile."""
    files = [Path(parent, name) for parent, _, names in os.walk(volume) for name in names]
    found = {"names on the volume": "\n".join(map(str, files))}
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            found[str(path.relative_to(volume))] = path.read_bytes().decode("latin-1")
    return found


def kept_by_the_cluster(bench: Stand) -> dict[str, str]:
    """Objects with their status, Events, the catalog and the Lease: everything except the Secrets."""
    api, core = bench.cluster.api, f"/api/v1/namespaces/{bench.namespace}"
    paths = {
        "objects": f"/apis/{GROUP_VERSION}/namespaces/{bench.namespace}/modeldownloads",
        "events": f"{core}/events",
        "catalog": f"{core}/configmaps",
        "lease": f"/apis/coordination.k8s.io/v1/namespaces/{bench.namespace}/leases",
    }
    found = {place: json.dumps(api.get(path), ensure_ascii=False) for place, path in paths.items()}
    assert all(name in found["objects"] for name in ENDS)
    assert "AccessDenied" in found["events"]
    assert "good.path" in found["catalog"]
    return found


def answers(desk: Desk) -> dict[str, str]:
    paths = (
        "/",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/models",
        "/v1/models/downloads",
        "/v1/models/downloads?all=true",
        "/v1/models/local?model_ref=hf:acme/good",
        "/v1/models/downloads/none",
    )
    found = {path: desk.get(path) for path in paths}
    found["malformed requests"] = desk.send_malformed()
    found["a second order"] = desk.post("/v1/models/download", {"model_ref": "hf:acme/elsewhere"})
    return found


def logs(bench: Stand, desk: Desk) -> dict[str, str]:
    """The log of the operator, which has the lines of its workers, and that of the gateway."""
    return {"operator's log": bench.operator_output(), "gateway's log": desk.program.output()}


def check_that_they_were_used(bench: Stand, proxy: Proxy) -> None:
    """Checks that the secrets were used: otherwise no output could contain them."""
    assert any(request.authorization for request in bench.hub.log if request.origin == "api")
    assert not any(request.authorization for request in bench.hub.log if request.origin == "content")
    assert bench.hub.signatures
    # A client of an earlier test may still connect to a proxy that had the same port; it asks for another hub.
    hub = {bench.hub.host_port, bench.hub.content_origin.partition("://")[2]}
    ours = [asked for asked in proxy.log if asked.target in hub]
    assert [asked for asked in ours if "proxy-authorization" not in asked.headers] == []
    assert {asked.target for asked in ours} == hub, "both origins are reached through the proxy"


def test_the_search_finds_what_is_there() -> None:
    needles = spellings(PASSWORD) | spellings(TOKEN)
    header = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    for text in (f"x{TOKEN}y", f"http://user:{quote(PASSWORD, safe='')}@proxy", json.dumps({"token": TOKEN}), PASSWORD):
        assert found_in(text, needles)
    assert found_in(f"Basic {header}", spellings(f"user:{PASSWORD}"))
    assert not found_in("nothing", needles)


def test_no_value_of_the_program_shows_a_secret_by_its_repr() -> None:
    """A repr is in logs, in tracebacks of assertions, and in the output of a debugger."""
    shown = {f"{kind.__module__}.{kind.__qualname__}.{field.name}" for kind, field in secret_fields() if field.repr}
    assert shown == set()
    assert len(list(secret_fields())) > 3


def secret_fields() -> Iterator[tuple[type, dataclasses.Field[object]]]:
    """The fields of dataclasses that hold a secret, by their names."""
    for module in pkgutil.walk_packages(model_provisioner.__path__, "model_provisioner."):
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                for field in dataclasses.fields(kind):
                    if field.name in SECRET_FIELDS or field.name in SECRETS_OF.get(kind, ()):
                        yield kind, field
