"""Reads the header of a GGUF file from its first bytes, and checks that the file can be complete.

`transfer.download` calls `read_header` when the first range has arrived, so that a web page or a wrong model costs one
range instead of forty gigabytes. It calls `check_complete` and `combine` before it publishes. What kind of file is
wanted is decided in `domain.gguf.roles`. The bytes are untrusted:
every count and size is compared with the file size before it is used, arrays are skipped and never stored, and
templates are never interpreted. Files are not opened here.

Source of the layout and of what a loader refuses: ggml/include/gguf.h and ggml/src/gguf.cpp of llama.cpp.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model_provisioner.domain.errors import IncompleteModel, NotGGUF
from model_provisioner.domain.gguf import format as fmt
from model_provisioner.domain.gguf.base_model import BASE_MODEL_KEYS, base_model
from model_provisioner.domain.gguf.cursor import HeaderBytes, NeedMoreError, readable
from model_provisioner.domain.gguf.tensors import MIN_TENSOR_BYTES, Tensors, read_tensors
from model_provisioner.domain.model_facts import GGUFSummary
from model_provisioner.domain.quantity import MAX_INT64

_MIN_KEY_BYTES = 8 + 4 + 1
_SNIFF_BYTES = 64
_MAX_APPENDED = 64 * 1024**2  # bytes after the tensors, beside as many as the tensors themselves have
_CONTEXT_LENGTH = b".context_length"
_CHAT_TEMPLATE = b"tokenizer.chat_template"
_WANTED = frozenset(
    {
        b"general.alignment",
        b"general.architecture",
        b"general.file_type",
        b"general.license",
        b"general.name",
        b"general.type",
        b"split.count",
        b"split.no",
        b"split.tensors.count",
        *BASE_MODEL_KEYS,
    }
)

_Value = tuple[int, int | float | bytes]
"""A value type of the format, and the value. For an array the value is empty: only its presence is recorded."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The given bytes end within the header.

    `needed` is the least number of the file's first bytes to try next: more than were given, at most the file size.
    """

    needed: int


@dataclass(frozen=True, slots=True)
class Split:
    """Which part of a split model a file is. `number` counts from 0, `tensors` is the total of all parts."""

    number: int
    count: int
    tensors: int


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """The header of one file.

    `data_offset` and `tensors_end` are byte positions in the file. A tensor of a type that is not in our table counts
    with one bit for each parameter in `tensors_end`, because no type needs less. `summary.parameters` and
    `summary.unknown_tensor_types` are those of this file only. `kind` is `general.type`; old files have none.
    """

    version: int
    tensor_count: int
    data_offset: int
    tensors_end: int
    split: Split | None
    summary: GGUFSummary
    kind: str | None = None


def read_header(data: bytes | memoryview, file_size: int) -> GGUFHeader | Incomplete:
    """Reads the header of a file of `file_size` bytes that begins with `data`; `Incomplete` if more bytes are needed.

    Raises NotGGUF, with what was found instead or what is wrong, and what to do. The message does not name the file;
    the caller adds it.
    """
    view = memoryview(data)[:file_size]
    try:
        return _read(HeaderBytes(view, file_size))
    except NeedMoreError as short:
        return Incomplete(short.needed)


def check_complete(header: GGUFHeader, file_size: int) -> None:
    """Raises NotGGUF if the file is too short for the tensors that its header lists, or far too long.

    Some programs append bytes. But a file with a short model and terabytes of anything would be hashed for hours.
    """
    if header.tensors_end > file_size:
        raise NotGGUF(
            f"truncated: its tensors reach byte {header.tensors_end}, the file has {file_size}: "
            "the file at the source is incomplete, upload it again or choose another"
        )
    # A tensor of an unknown type counts with one bit for each element. No type has more than 64.
    factor = 64 if header.summary.unknown_tensor_types else 1
    if file_size > 2 * factor * header.tensors_end + _MAX_APPENDED:
        raise NotGGUF(
            f"damaged: its tensors end at byte {header.tensors_end}, the file has {file_size}: "
            "the file at the source is not only this model, upload it again or choose another"
        )


def combine(headers: Sequence[GGUFHeader]) -> GGUFSummary:
    """The summary of one model from the headers of its parts, in order; a model in one file has one part.

    Raises IncompleteModel if parts are missing or do not belong together.
    """
    first = headers[0]
    if len(headers) == 1 and (first.split is None or first.split.count <= 1):
        return first.summary
    for position, header in enumerate(headers):
        _check_part(header.split, first.split, position, len(headers))
    _check_tensor_count(headers)
    unknown = {kind for header in headers for kind in header.summary.unknown_tensor_types or ()}
    return replace(
        first.summary,
        parameters=sum(header.summary.parameters or 0 for header in headers),
        unknown_tensor_types=tuple(sorted(unknown)[: fmt.MAX_UNKNOWN_TYPES]) or None,
    )


def _check_part(split: Split | None, first: Split | None, position: int, count: int) -> None:
    if split is None or first is None:
        raise IncompleteModel(f"part {position + 1} of {count} does not say that it belongs to a split model")
    if split.count != count:
        raise IncompleteModel(f"part {position + 1} belongs to a model of {split.count} parts, {count} were given")
    if split.number != position:
        raise IncompleteModel(f"the file of part {position + 1} of {count} says that it is part {split.number + 1}")
    if split.tensors != first.tensors:
        raise IncompleteModel(
            f"part {position + 1} belongs to a model of {split.tensors} tensors, part 1 to one of {first.tensors}: "
            "the parts are from different models"
        )


def _check_tensor_count(headers: Sequence[GGUFHeader]) -> None:
    split, found = headers[0].split, sum(header.tensor_count for header in headers)
    if split is not None and split.tensors != found:
        raise IncompleteModel(f"the parts hold {found} tensors together, the model has {split.tensors}")


def _read(header: HeaderBytes) -> GGUFHeader:
    _check_magic(header.head(_SNIFF_BYTES))
    header.skip(4)
    version = _version(header)
    tensor_count = header.count("tensors", fmt.MAX_TENSORS)
    metadata, chat_template = _metadata(header, header.count("keys", fmt.MAX_KEYS), tensor_count)
    alignment = _alignment(metadata)
    tensors = read_tensors(header, tensor_count, alignment)
    data_offset = -(-header.position // alignment) * alignment
    return GGUFHeader(
        version=version,
        tensor_count=tensor_count,
        data_offset=data_offset,
        tensors_end=data_offset + tensors.end if tensor_count else header.position,
        split=_split(metadata),
        summary=_summary(metadata, tensors, chat_template=chat_template),
        kind=_text(metadata, b"general.type"),
    )


def _check_magic(head: bytes) -> None:
    if head.startswith(b"GGUF"):
        return
    if not head:
        raise NotGGUF("not a GGUF file: it is empty; upload it again at the source, or choose another")
    lowered = head.lstrip().lower()
    # safetensors: the length of a JSON object in eight bytes, then the object.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40:
        raise NotGGUF("not a GGUF file but a safetensors file: convert it to GGUF first, or name a .gguf file")
    for start, (what, remedy) in fmt.OTHER_FORMATS:
        if lowered.startswith(start):
            raise NotGGUF(f"not a GGUF file but {what}: {remedy}")
    raise NotGGUF(f"not a GGUF file: it starts with the bytes {head[:8].hex(' ')}; name a file that is a GGUF model")


def _version(header: HeaderBytes) -> int:
    version = header.u32()
    if version in {2, 3}:
        return version
    if version and version & 0xFFFF == 0:
        raise NotGGUF("a big-endian GGUF file, which is not supported: choose the little-endian one of this model")
    raise NotGGUF(f"GGUF version {version} is not supported: convert the model to version 3, or choose another file")


def _metadata(header: HeaderBytes, count: int, tensor_count: int) -> tuple[dict[bytes, _Value], bool]:
    """The values of the keys in `_WANTED` and of the context length, and whether there is a chat template."""
    wanted: dict[bytes, _Value] = {}
    seen: set[bytes] = set()
    for left in range(count - 1, -1, -1):
        header.reserved = left * _MIN_KEY_BYTES + tensor_count * MIN_TENSOR_BYTES
        key = header.string()
        if not key:
            raise NotGGUF("damaged: one of its keys is empty")
        if key in seen:
            raise NotGGUF(f"damaged: the key {readable(key)!r} is there twice")
        seen.add(key)
        value = _value(header, keep=key in _WANTED or key.endswith(_CONTEXT_LENGTH))
        if value is not None:
            wanted[key] = value
    header.reserved = 0
    return wanted, any(key.startswith(_CHAT_TEMPLATE) for key in seen)


def _value(header: HeaderBytes, *, keep: bool) -> _Value | None:
    kind = header.u32()
    layout = fmt.SCALARS.get(kind)
    if layout is not None:
        number = header.unpack(layout)
        return (kind, number) if keep else None
    if kind == fmt.STRING:
        if keep:
            return kind, header.string()
        header.skip_string()
    elif kind == fmt.ARRAY:
        _skip_array(header)
        return (kind, b"") if keep else None
    else:
        raise NotGGUF(f"damaged: a value has the type {kind}, which does not exist")
    return None


def _skip_array(header: HeaderBytes) -> None:
    kind = header.u32()
    count = header.count("items in one array", fmt.MAX_ARRAY_ITEMS)
    layout = fmt.SCALARS.get(kind)
    if layout is not None:
        header.skip(count * layout.size)
    elif kind == fmt.STRING:
        header.skip_strings(count)
    elif kind == fmt.ARRAY:
        raise NotGGUF("not supported: it has an array within an array, which no real model needs")
    else:
        raise NotGGUF(f"damaged: an array has items of the type {kind}, which does not exist")


def _alignment(metadata: dict[bytes, _Value]) -> int:
    kind, alignment = metadata.get(b"general.alignment", (fmt.UINT32, fmt.DEFAULT_ALIGNMENT))
    if kind != fmt.UINT32 or not isinstance(alignment, int) or alignment.bit_count() != 1:
        raise NotGGUF("damaged: general.alignment must be an unsigned 32-bit number and a power of two")
    return alignment


def _split(metadata: dict[bytes, _Value]) -> Split | None:
    keys = (b"split.no", b"split.count", b"split.tensors.count")
    if not any(key in metadata for key in keys):
        return None
    number, count, tensors = (_integer(metadata, key) for key in keys)
    if number is None or count is None or tensors is None or number >= max(count, 1):
        raise NotGGUF("damaged: split.no, split.count and split.tensors.count must be numbers that fit each other")
    return Split(number, count, tensors)


def _summary(metadata: dict[bytes, _Value], tensors: Tensors, *, chat_template: bool) -> GGUFSummary:
    architecture = _text(metadata, b"general.architecture")
    file_type = _integer(metadata, b"general.file_type")
    return GGUFSummary(
        architecture=architecture,
        name=_text(metadata, b"general.name"),
        parameters=tensors.parameters,
        quantization=None if file_type is None else fmt.FILE_TYPES.get(file_type),
        context_length=_integer(metadata, (architecture or "").encode() + _CONTEXT_LENGTH),
        license=_text(metadata, b"general.license"),
        chat_template=chat_template,
        unknown_tensor_types=tensors.unknown_types or None,
        base_model=base_model(*(_text(metadata, key) for key in BASE_MODEL_KEYS)),
        adapter=_text(metadata, b"general.type") == fmt.ADAPTER or None,
    )


def _integer(metadata: dict[bytes, _Value], key: bytes) -> int | None:
    """The number of `key` if it is in the range of the status fields; None for any other value."""
    _, value = metadata.get(key, (0, b""))
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INT64:
        return None
    return value


def _text(metadata: dict[bytes, _Value], key: bytes) -> str | None:
    _, value = metadata.get(key, (0, b""))
    return (readable(value) or None) if isinstance(value, bytes) else None
