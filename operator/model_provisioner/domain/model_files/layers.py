"""Decides which layers of an artifact in a registry are GGUF files, and what each file is called.

`transfer.sources.oci` calls this with the layers of a manifest. Sources: docker/model-runner,
pkg/distribution/types/config.go (0.1 has no names, `model.gguf` or `model-00001-of-00002.gguf` in the order of the
manifest); modelpack/model-spec, specs-go/v1 (`org.cncf.model.filepath`); kitops, pkg/lib/constants/mediaType.go; oras,
whose layers have a title, and `…layer.v1.tar` for a plain file too unless it names another type.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.model_files.projectors import is_projector

OLLAMA_MODEL = "application/vnd.ollama.image.model"
_GGUF = frozenset({"application/vnd.docker.ai.gguf.v3", "application/vnd.cncf.model.weight.v1.gguf", OLLAMA_MODEL})
_PROJECTORS = frozenset({"application/vnd.docker.ai.mmproj", "application/vnd.ollama.image.projector"})
PROJECTOR_FILE = "mmproj.gguf"
"""The file of a projector without a name. Docker calls it `model.mmproj`, which loaders of directories do not find."""
_ARCHIVE = re.compile(r".*\+(?:gzip|zstd)|application/vnd\.(?:cncf|kitops|docker)\..*[.]tar", re.DOTALL)
_TAR = re.compile(
    r"application/vnd\.(?:cncf\.model\.weight(?:\.config)?|kitops\.modelkit\.model(?:part)?)\.v1\.tar"
    r"(?P<gzip>\+gzip)?|application/vnd\.docker\.ai\.dir\.tar"
)
_ORAS_DIRECTORY = "application/vnd.oci.image.layer.v1.tar+gzip"
_UNPACKED = "io.deis.oras.content.unpack"
_NAMES = ("org.cncf.model.filepath", "org.opencontainers.image.title")
_METADATA = "org.cncf.model.file.metadata+json"
_SUFFIX = ".gguf"
_MOST_SHOWN = 6
OWN_LAYER = "push the .gguf file as a layer of its own, as docker model package and oras push do"
"""What to do about an archive that can't be read."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A descriptor of a manifest: `digest` is `algorithm:value`, `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of its file as the publisher wrote it, untrusted; "" if it has none."""
        named = next(filter(None, map(self.annotations.get, _NAMES)), None) or self._name_in_metadata()
        return named.removeprefix("./")

    @property
    def is_tar(self) -> bool:
        """Whether it is an archive that is read: one that may have weights in it."""
        return bool(_TAR.fullmatch(self.media_type)) or self._is_directory

    @property
    def is_gzip(self) -> bool:
        """Whether an archive that is read is compressed."""
        tar = _TAR.fullmatch(self.media_type)
        return self._is_directory or (tar is not None and bool(tar["gzip"]))

    @property
    def is_archive(self) -> bool:
        return bool(_ARCHIVE.fullmatch(self.media_type)) or self.annotations.get(_UNPACKED) == "true"

    @property
    def _is_directory(self) -> bool:
        """As oras packs one."""
        return self.media_type == _ORAS_DIRECTORY and self.annotations.get(_UNPACKED) == "true"

    def _name_in_metadata(self) -> str:
        import json  # noqa: PLC0415 - no other source needs it

        try:
            name = json.loads(self.annotations.get(_METADATA, "{}"))["name"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return ""
        return name if isinstance(name, str) else ""


def gguf_files(layers: Sequence[Layer]) -> dict[str, Layer]:
    """The layers that are GGUF files as they are, by their names. Raises UnsupportedSource if two share a name."""
    plain = [layer for layer in layers if not layer.is_archive and layer.media_type not in _PROJECTORS]
    models = [layer for layer in plain if layer.media_type in _GGUF or _is_gguf(layer.name)]
    return _named(models, _default_names(sum(not _is_gguf(layer.name) for layer in models)), {})


def projector_files(layers: Sequence[Layer]) -> dict[str, Layer]:
    """The layers that are multimodal projectors, by type or by name, by the names of their files.

    Raises UnsupportedSource if two layers share a name.
    """
    models = gguf_files(layers)
    by_type = {layer.digest: layer for layer in layers if layer.media_type in _PROJECTORS}
    numbered = (f"mmproj-{number}{_SUFFIX}" for number in count(2))
    by_name = {name: layer for name, layer in models.items() if is_projector(name)}
    return by_name | _named([*by_type.values()], chain((PROJECTOR_FILE,), numbered), models)


def archives(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that are archives which may have GGUF files in them, and are read if no layer is one as it is."""
    return [layer for layer in layers if layer.is_tar]


def without_gguf(layers: Sequence[Layer]) -> str:
    """Why `layers`, of which none is a GGUF file as it is, can't be fetched, and what to do: a clause after a name."""
    closed = (layer for layer in layers if layer.is_archive and not layer.is_tar and _may_hold_models(layer))
    if archive := next(closed, None):
        return (
            f"has its files in archives ({_shown(archive.media_type)}), which this version does not unpack: {OWN_LAYER}"
        )
    kinds = sorted({_shown(layer.media_type) for layer in layers})
    more = f" and {len(kinds) - _MOST_SHOWN} more" if len(kinds) > _MOST_SHOWN else ""
    only = f", only {', '.join(kinds[:_MOST_SHOWN])}{more}" if kinds else ""
    return f"holds no GGUF file{only}: name an artifact with a model in GGUF"


def _default_names(models: int) -> Iterator[str]:
    if models == 1:
        return iter((f"model{_SUFFIX}",))
    return (f"model-{number:05}-of-{models:05}{_SUFFIX}" for number in range(1, models + 1))


def _named(layers: Sequence[Layer], unnamed: Iterator[str], others: Mapping[str, Layer]) -> dict[str, Layer]:
    """`layers` by the names of their files, those without one by the next of `unnamed`.

    Raises UnsupportedSource if two layers share a name, or one of them and one of `others`.
    """
    found: dict[str, Layer] = {}
    for layer in layers:
        name = layer.name if _is_gguf(layer.name) else next(unnamed)
        if {found.setdefault(name, layer).digest, others.get(name, layer).digest} != {layer.digest}:
            raise UnsupportedSource(f"two layers are called {name[:120]!a}: give each file a name of its own")
    return found


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(_SUFFIX)


def _may_hold_models(layer: Layer) -> bool:
    """Not the layers of an image of a container."""
    return "image" not in layer.media_type or bool(layer.name)


def _shown(text: str) -> str:
    return ascii(text[:80])[1:-1] or "no media type"
