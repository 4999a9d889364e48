"""Wrong answers of OCI registries, of their token servers, and of the Ollama registry."""

import zlib

from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    AmbiguousModel,
    DigestMismatch,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from tests.adversarial.sources.registry_kinds import (
    CONFIG,
    OCI,
    OLLAMA,
    OLLAMA_MANIFEST,
    OLLAMA_MODEL,
    TOKEN,
    artifact,
    blob,
    challenge,
    indexed,
    manifest,
    named,
    with_token,
)
from tests.adversarial.sources.world import (
    ENDLESS,
    METADATA_ADDRESS,
    MIB,
    MODEL,
    OTHER,
    PAGE,
    Answer,
    Row,
    Table,
    document,
    ranged,
    to,
)
from tests.support import registry
from tests.support.registry import FILEPATH, GGUF, TITLE, descriptor

BOMB = zlib.compress(b" " * 64 * MIB)
BOMBED = {"Content-Type": registry.MANIFEST, "Content-Encoding": "deflate"}
JSON = {"Content-Type": registry.MANIFEST}
ABSENT = f"sha256:{'0' * 64}"


def of_every_registry(model: Answer) -> list[Row]:
    """`model` is a manifest of the kind of registry."""
    wrong_kind = Answer(200, {"Content-Type": registry.INDEX}, model.body)
    return [
        Row("a login page", "manifest", PAGE, SourceUnavailable, "a web page"),
        Row("a manifest that is no JSON", "manifest", Answer(200, JSON, b"{"), SourceUnavailable, "no JSON"),
        Row("deep JSON", "manifest", Answer(200, JSON, b"[" * 100_000), SourceUnavailable, "no JSON|another shape"),
        Row("a manifest of 100 MiB", "manifest", ENDLESS, UnsupportedSource, "more than 4 MiB"),
        Row("a bomb of deflate", "manifest", Answer(200, BOMBED, BOMB), UnsupportedSource, "more than 4 MiB"),
        Row(
            "another type in the header", "manifest", wrong_kind, SourceUnavailable, "in the body and .* in the header"
        ),
        Row(
            "a manifest of version 1",
            "manifest",
            Answer(200, JSON, b'{"schemaVersion": 1}'),
            UnsupportedSource,
            "version 1",
        ),
        Row(
            "a manifest of something else",
            "manifest",
            manifest([], "text/plain"),
            UnsupportedSource,
            "'text/plain'",
        ),
        Row("too many layers", "manifest", manifest([CONFIG] * 20_000), UnsupportedSource, "more than 4,196 layers"),
        Row(
            "a login that is never accepted",
            "manifest",
            challenge(),
            AccessDenied,
            "with the credential that was sent .401",
        ),
        Row("a token of another realm", "token", document({"token": "of-another-realm"}), AccessDenied, "401"),
        Row(
            "a token server that is the metadata of a cloud",
            "manifest",
            challenge(METADATA_ADDRESS),
            AccessDenied,
            "not encrypted: the login is not sent",
        ),
        Row(
            "a token server at a private address",
            "manifest",
            challenge("https://10.1.2.3/token"),
            AddressNotAllowed,
            "10.1.2.3",
        ),
        Row(
            "a token server without TLS",
            "manifest",
            challenge("{elsewhere}/token"),
            AccessDenied,
            "not encrypted: the login is not sent",
        ),
        Row(
            "a token server that is none",
            "manifest",
            challenge("ftp://x/token"),
            SourceUnavailable,
            "no address of a token server",
        ),
        Row("a token that is no JSON", "token", PAGE, SourceUnavailable, "a web page"),
        Row("a token with a line break", "token", document({"token": "a\r\nHost: x"}), SourceUnavailable, "no token"),
        Row("a token of 100 MiB", "token", ENDLESS, UnsupportedSource, "more than"),
        Row("no such manifest", "manifest", Answer(404), SourceNotFound, "is not there .404"),
        Row("a limit", "manifest", Answer(429, {"Retry-After": "7"}), RateLimited, "limits how often"),
        Row(
            "another host for the manifest",
            "manifest",
            with_token(to("{elsewhere}/x")),
            AccessDenied,
            "401",
            elsewhere=challenge("http://10.1.2.3/t"),
        ),
        Row(
            "the address of a cloud's metadata for the bytes",
            "blob",
            with_token(to(METADATA_ADDRESS, 307)),
            AddressNotAllowed,
            "169.254.169.254",
        ),
        Row(
            "another host for the bytes",
            "blob",
            with_token(to("{elsewhere}/x?sig=1", 307)),
            SourceUnavailable,
            "refused a new address",
        ),
        Row(
            "other bytes of the same size",
            "blob",
            blob(lambda request: ranged(request, OTHER)),
            DigestMismatch,
            "should be sha256:",
        ),
        Row(
            "another size",
            "blob",
            blob(lambda request: ranged(request, MODEL[:-1])),
            SourceUnavailable,
            "when asked for bytes=",
        ),
        Row(
            "another range",
            "blob",
            blob(lambda request: ranged(request).saying(content_range=f"bytes 1-9/{len(MODEL)}")),
            SourceUnavailable,
            "when asked for bytes=",
        ),
        Row("a page for the bytes", "blob", blob(PAGE), SourceUnavailable, "page|instead of the"),
        Row(
            "the bytes encoded as gzip",
            "blob",
            blob(lambda request: ranged(request).saying(content_encoding="gzip")),
            SourceUnavailable,
            "encoded as 'gzip'",
        ),
        Row(
            "no access to the bytes", "blob", blob(Answer(403)), AccessDenied, "with the credential that was sent .403"
        ),
    ]


OCI_ROWS = [
    *of_every_registry(artifact()),
    Row(
        "another manifest than the named one",
        "manifest",
        artifact(),
        DigestMismatch,
        "when asked for sha256:000",
        ref="oci://{host}/team/tiny@" + ABSENT,
    ),
    Row("a title that climbs", "manifest", named(TITLE, "../x.gguf"), UnsupportedSource, "'..' part"),
    Row("a title that is absolute", "manifest", named(TITLE, "/etc/x.gguf"), UnsupportedSource, "absolute|empty"),
    Row("a path with a backslash", "manifest", named(FILEPATH, "a\\b.gguf"), UnsupportedSource, "backslash"),
    Row("a path of the store's own", "manifest", named(FILEPATH, ".provisioner/x.gguf"), UnsupportedSource, "store"),
    Row(
        "a path with an invisible character",
        "manifest",
        named(FILEPATH, "a\u202eb.gguf"),
        UnsupportedSource,
        "invisible",
    ),
    Row(
        "a token in the name of a file",
        "manifest",
        with_token(named(TITLE, f"{TOKEN}.gguf")),
        SourceUnavailable,
        "sent back",
    ),
    Row("a digest that climbs", "manifest", artifact(digest="sha256:../../x"), SourceUnavailable, "another shape"),
    Row(
        "a digest that is not SHA-256",
        "manifest",
        artifact(digest=f"sha512:{'0' * 128}"),
        UnsupportedSource,
        "not named by a SHA-256",
    ),
    Row("a size below zero", "manifest", artifact(size=-1), SourceUnavailable, "another shape"),
    Row(
        "an image",
        "manifest",
        artifact(mediaType="application/vnd.oci.image.layer.v1.tar+gzip"),
        UnsupportedSource,
        "holds no GGUF file",
    ),
    Row(
        "two models",
        "manifest",
        manifest([descriptor(b"x", GGUF, **{TITLE: "a.gguf"}), descriptor(b"y", GGUF, **{TITLE: "b.gguf"})]),
        AmbiguousModel,
        "2 models",
    ),
    Row(
        "an index of indexes",
        "manifest",
        indexed({"mediaType": registry.INDEX, "digest": ABSENT, "size": 1}),
        UnsupportedSource,
        "an index of other indexes",
    ),
]
OLLAMA_ROWS = [
    *of_every_registry(OLLAMA_MANIFEST),
    Row(
        "weights in tensors",
        "manifest",
        manifest([descriptor(b"x", "application/vnd.ollama.image.tensor")]),
        UnsupportedSource,
        "separate tensors",
    ),
    Row(
        "two files of weights",
        "manifest",
        manifest([descriptor(b"x", OLLAMA_MODEL), descriptor(b"y", OLLAMA_MODEL)]),
        UnsupportedSource,
        "2 files of weights",
    ),
    Row(
        "a digest that climbs",
        "manifest",
        manifest([{**descriptor(b"x", OLLAMA_MODEL), "digest": "sha256:../x"}]),
        SourceUnavailable,
        "another shape",
    ),
]
REGISTRY_TABLES: tuple[Table, ...] = ((OCI, OCI_ROWS), (OLLAMA, OLLAMA_ROWS))
