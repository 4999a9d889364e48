"""One model of each source, with the operator and the gateway as processes: Ready, and shown right to every reader.

A reader is a worker (the catalog), a client of the event stream, and a person in front of the page.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from model_provisioner.domain.refs.refs import KINDS, parse
from tests.gateway.caller import Document, Event, Stream, opened
from tests.support import buckets, nginx, registry
from tests.support.browser import chromium, log_in, screenshot, shown
from tests.support.ggufs import tiny_gguf
from tests.support.programs import eventually
from tests.support.registry import GGUF, PASSWORD, USER, Pusher, sha256
from tests.support.stand import CLAIM, Stand

MIB = 1024**2
OLLAMA = "application/vnd.ollama.image.model"
HOSTS = "models.rbee.dev/hosts"
ENDS = ("complete", "error")
CARDS = """
return [...document.querySelectorAll("#models .card")].map((card) => {
  const text = (part) => card.querySelector(part).textContent.trim();
  const terms = [...card.querySelectorAll(".facts dt")].map((name) => [name.textContent, name.nextSibling.textContent]);
  return [text(".place"), [text(".ref"), text(".size"), text(".path"), Object.fromEntries(terms)]];
});
"""


@dataclass(frozen=True)
class Model:
    """A model as its publisher knows it, and what the page calls its source.

    `revision` None: it is the entity tag, or there is none. `secret` has the keys of its Secret, for `hosts`.
    """

    ref: str
    content: bytes
    path: str
    source: str
    digest_source: str
    revision: str | None = None
    secret: dict[str, str] = field(default_factory=dict)
    hosts: str | None = None

    @property
    def name(self) -> str:
        return f"from-{parse(self.ref).scheme}"

    @property
    def digest(self) -> str:
        return sha256(self.content)


def content(number: int) -> bytes:
    """Models differ in their bytes and in their size."""
    return tiny_gguf(size=number * MIB, seed=number)


@pytest.fixture
def models(bench: Stand, tmp_path: Path) -> Iterator[list[Model]]:
    """A model at a server of each source. The operator knows their endpoints, and acts."""
    directories = {name: tmp_path / name for name in ("web", "bucket", "oci", "ollama")}
    for directory in directories.values():
        directory.mkdir()
    authorities = tmp_path / "authorities.pem"
    with (
        nginx.serving(directories["web"], tmp_path, ca_file=authorities) as web,
        buckets.versity(directories["bucket"]) as bucket,
        registry.running(directories["oci"], protected=True) as private,
        registry.running(directories["ollama"]) as ollama,
    ):
        authorities.write_text(authorities.read_text() + bench.hub.ca_file.read_text())
        endpoints = {"modelscope": bench.hub.endpoint, "s3": bucket.url, "ollama": ollama}
        flags = [f"--endpoint={scheme}={url}" for scheme, url in endpoints.items()]
        bench.start_operator(f"--ca-file={authorities}", "--allow-host=127.0.0.1", *flags)
        yield [
            *in_repositories(bench),
            on_the_web(directories["web"], web),
            in_a_bucket(bucket),
            in_a_registry(private),
            of_ollama(ollama),
            on_the_volume(bench),
        ]


def in_repositories(bench: Stand) -> list[Model]:
    found = []
    for scheme, repository, number in (("hf", "acme/one", 1), ("modelscope", "acme/two", 2)):
        model, file = content(number), "m.Q4_K_M.gguf"
        made = bench.hub.repository(repository)
        made.add(file, model)
        source = {"hf": "Hugging Face", "modelscope": "ModelScope"}[scheme]
        path = f"{scheme}/{repository}/{file}"
        found.append(Model(f"{scheme}:{repository}:Q4_K_M", model, path, source, "Source", made.commit))
    return found


def on_the_web(files: Path, url: str) -> Model:
    model = content(3)
    (files / "m.gguf").write_bytes(model)
    return Model(f"{url}/m.gguf", model, f"http/127.0.0.1+{url.rpartition(':')[2]}/m.gguf", "a web server", "Computed")


def in_a_bucket(server: buckets.Server) -> Model:
    model = content(4)
    server.put("models")
    server.put("models/team/m.Q4_K_M.gguf", model)
    path = f"s3/127.0.0.1+{server.url.rpartition(':')[2]}/models/team/m.Q4_K_M.gguf"
    keys = {"AWS_ACCESS_KEY_ID": server.keys.key_id, "AWS_SECRET_ACCESS_KEY": server.keys.secret}
    return Model("s3://models/team/:Q4_K_M", model, path, "a bucket", "Computed", secret=keys)


def in_a_registry(url: str) -> Model:
    """An artifact that only USER may read. The Secret has the annotation of a registry without TLS."""
    model, host, pusher = content(5), url.removeprefix("http://"), Pusher(url, "team/tiny", (USER, PASSWORD))
    revision = pusher.artifact("v1", [pusher.blob(model, GGUF)])
    path = f"oci/{host.replace(':', '+')}/team/tiny/v1/model.gguf"
    keys = {"username": USER, "password": PASSWORD}
    return Model(f"oci://{host}/team/tiny:v1", model, path, "a registry", "Source", revision, keys, url)


def of_ollama(url: str) -> Model:
    model, pusher = content(6), Pusher(url, "library/tiny")
    revision = pusher.artifact("v1", [pusher.blob(model, OLLAMA)])
    return Model(
        "ollama:tiny:v1", model, "ollama/library/tiny/v1/model.gguf", "the Ollama registry", "Source", revision
    )


def on_the_volume(bench: Stand) -> Model:
    model, file = content(7), bench.volume / "local/team/m.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(model)
    return Model("local:team/m.gguf", model, "local/team/m.gguf", "a file on the volume", "Computed")


def test_one_model_of_each_source_is_ready_and_shown_right(bench: Stand, models: list[Model], tmp_path: Path) -> None:
    assert {type(parse(model.ref)) for model in models} == set(KINDS)
    with opened(bench.cluster, bench.namespace, tmp_path) as desk, chromium(tmp_path / "profile") as page:
        log_in(page, desk.url, desk.cluster.token(bench.namespace, "reader"))
        with desk.caller("reader").stream() as stream:
            objects = {ask(bench, model)["metadata"]["uid"]: model for model in models}
            told = until_all_have_ended(stream, set(objects))
        for uid, model in objects.items():
            found = bench.until(model.name, "Available")["status"]["model"]
            assert (found["path"], found["digest"], found["digestSource"]) == (
                model.path,
                model.digest,
                model.digest_source,
            )
            assert found.get("revision") == model.revision or found["revision"].startswith('"')
            assert (bench.volume / model.path).read_bytes() == model.content
            the_stream_has_it(told[uid], model, bench.namespace)
            the_catalog_has_it(bench.catalog(), model, found.get("revision"))
        the_page_has_them(page, bench, models)


def ask(bench: Stand, model: Model) -> Document:
    if not model.secret:
        return bench.apply(model.name, modelRef=model.ref)
    bench.secret(model.name, model.secret, {HOSTS: model.hosts} if model.hosts else None)
    return bench.apply(model.name, modelRef=model.ref, credentialsSecretRef={"name": model.name})


def until_all_have_ended(stream: Stream, uids: set[str]) -> dict[str, list[Event]]:
    """The events of each download up to its end, by its id."""
    told: dict[str, list[Event]] = {uid: [] for uid in uids}
    while not all(events and events[-1].name in ENDS for events in told.values()):
        event = stream.next("started", "progress", *ENDS, seconds=60)
        told[event.data["download_id"]].append(event)
    return told


def the_stream_has_it(events: list[Event], model: Model, namespace: str) -> None:
    assert (events[0].name, events[-1].name) == ("started", "complete"), [event.data for event in events]
    for event in events:
        assert (event.data["model_ref"], event.data["name"]) == (model.ref, model.name)
        assert event.data["namespace"] == namespace
    end, size = events[-1].data, len(model.content)
    assert (end["state"], end["path"]) == ("Available", model.path)
    assert (end["bytes"], end["total"], end["percent"]) == (size, size, 100)
    done = [event.data["bytes"] for event in events[1:]]
    assert done == sorted(done)


def the_catalog_has_it(catalog: dict[str, str], model: Model, revision: str | None) -> None:
    entry = json.loads(catalog[f"{model.name}.json"])
    gguf = entry.pop("gguf")
    assert (gguf["architecture"], gguf["quantization"]) == ("llama", "Q4_K_M")
    assert entry == {
        "modelRef": model.ref,
        "claimName": CLAIM,
        "path": model.path,
        "files": [{"path": model.path, "sizeBytes": len(model.content), "digest": model.digest}],
        "sizeBytes": len(model.content),
        "digest": model.digest,
        "revision": revision,
    }
    assert (catalog[f"{model.name}.path"], catalog[f"{model.name}.claim"]) == (model.path, CLAIM)


def the_page_has_them(page: Chrome, bench: Stand, models: list[Model]) -> None:
    def cards() -> dict[str, list[object]]:
        return dict(page.execute_script(CARDS))

    eventually(lambda: len(cards()) == len(models), "the page has all of them")
    page.execute_script("document.querySelectorAll('#models details').forEach((one) => { one.open = true; })")
    eventually(lambda: len(shown(page, "#models .facts > dl")) == len(models), "the details are there")
    wanted = {}
    for model in models:
        revision = bench.get(model.name)["status"]["model"].get("revision") or "none"
        terms = {"Source": model.source, "Digest": model.digest, "Revision": revision}
        place = f"{bench.namespace}/{model.name} on claim {CLAIM}"
        wanted[place] = [model.ref, f"{len(model.content) / MIB:.1f} MiB", model.path, terms]
    screenshot(page, "sources")
    assert cards() == wanted
