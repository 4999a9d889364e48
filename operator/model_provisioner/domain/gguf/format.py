"""The constants of the GGUF format: limits, value types, tensor types, file types, and signatures of other formats.

Only tables; `domain.gguf.header` and `domain.gguf.tensors` use them.
Source of the numbers: ggml/include/gguf.h, ggml/include/ggml.h and include/llama.h (`llama_ftype`) of llama.cpp.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType

MAX_HEADER = 64 * 1024**2
"""In bytes. Headers of real models have 5 to 15 MB, nearly all of it for the tokenizer."""
MAX_KEYS = 64 * 1024
MAX_TENSORS = 1024**2
MAX_ARRAY_ITEMS = 1024**2
MAX_STRING = 1024**2
"""In bytes. The longest strings of real models are chat templates with some ten thousand bytes."""
MAX_DIMENSIONS = 4
MAX_TENSOR_NAME = 63
"""In bytes. Loaders have a buffer of 64 bytes with the terminating zero."""
MAX_INT32 = 2**31 - 1
DEFAULT_ALIGNMENT = 32

UINT32, STRING, ARRAY = 4, 8, 9
SCALARS: Mapping[int, struct.Struct] = MappingProxyType(
    {
        kind: struct.Struct(layout)
        for kind, layout in (
            (0, "<B"), (1, "<b"), (2, "<H"), (3, "<h"), (UINT32, "<I"), (5, "<i"),
            (6, "<f"), (7, "<?"), (10, "<Q"), (11, "<q"), (12, "<d"),
        )
    }
)  # fmt: skip
"""Value type → its layout. Strings and arrays are not in the table."""

TENSOR_TYPES: Mapping[int, tuple[int, int]] = MappingProxyType(
    {
        0: (1, 4),  # F32
        1: (1, 2),  # F16
        2: (32, 18),  # Q4_0
        3: (32, 20),  # Q4_1
        6: (32, 22),  # Q5_0
        7: (32, 24),  # Q5_1
        8: (32, 34),  # Q8_0
        9: (32, 40),  # Q8_1
        10: (256, 84),  # Q2_K
        11: (256, 110),  # Q3_K
        12: (256, 144),  # Q4_K
        13: (256, 176),  # Q5_K
        14: (256, 210),  # Q6_K
        15: (256, 292),  # Q8_K
        16: (256, 66),  # IQ2_XXS
        17: (256, 74),  # IQ2_XS
        18: (256, 98),  # IQ3_XXS
        19: (256, 50),  # IQ1_S
        20: (32, 18),  # IQ4_NL
        21: (256, 110),  # IQ3_S
        22: (256, 82),  # IQ2_S
        23: (256, 136),  # IQ4_XS
        24: (1, 1),  # I8
        25: (1, 2),  # I16
        26: (1, 4),  # I32
        27: (1, 8),  # I64
        28: (1, 8),  # F64
        29: (256, 56),  # IQ1_M
        30: (1, 2),  # BF16
        34: (256, 54),  # TQ1_0
        35: (256, 66),  # TQ2_0
        39: (32, 17),  # MXFP4
        40: (64, 36),  # NVFP4
        41: (128, 18),  # Q1_0
    }
)
"""Tensor type → (elements, bytes) of one block, as in llama.cpp.

A type that is in no table here is newer than the tables, or of another program. ik_llama.cpp uses numbers from 97 on,
bitnet.cpp those from 36 on, which llama.cpp used for a short time and removed.
"""

REMOVED_TENSOR_TYPES = frozenset({4, 5, 31, 32, 33})
"""Tensor types that no program reads any more: two early 4-bit types, and types for one kind of processor."""

MAX_UNKNOWN_TYPES = 16
"""The most types outside the table that are listed for one model."""

FILE_TYPES: Mapping[int, str] = MappingProxyType(
    {
        0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
        12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
        19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
        26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
        37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
    }
)  # fmt: skip
"""`general.file_type` → the name of the quantisation."""

_CONVERT = "convert it to GGUF first, or name a .gguf file"
_WEB_PAGE = (
    "a web page",
    "the address leads to a login or error page: check the ref, the endpoint and the credentials",
)
_OLD = ("a file in the GGML format that GGUF replaced", _CONVERT)
_TORCH = ("a PyTorch file", _CONVERT)

OTHER_FORMATS: tuple[tuple[bytes, tuple[str, str]], ...] = (
    (
        b"version https://git-lfs",
        ("a git-lfs pointer", "the source holds the pointer in place of the file: upload the file itself there"),
    ),
    (b"<!doctype", _WEB_PAGE),
    (b"<html", _WEB_PAGE),
    (b"<?xml", ("an XML document", "it is most likely an error message of the source: check the ref and credentials")),
    (b"{", ("a JSON document", "it is most likely an error message of the source: check the ref and credentials")),
    (b"pk\x03\x04", ("a zip archive, as PyTorch writes them", _CONVERT)),
    (b"\x80\x02", _TORCH),
    (b"\x80\x04", _TORCH),
    (b"\x1f\x8b", ("a gzip archive", "unpack it first, or name a .gguf file")),
    (b"\x28\xb5\x2f\xfd", ("a zstd archive", "unpack it first, or name a .gguf file")),
    (b"lmgg", _OLD),
    (b"fmgg", _OLD),
    (b"tjgg", _OLD),
    (bytes(16), ("a file of zero bytes", "the upload or copy of it was never finished: do that again")),
)
"""First bytes of a file, in lower case and without leading white space → (what the file is, what to do)."""

OTHER_KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "adapter": ("an adapter (LoRA)", "name the model that it was made for, or this adapter by its path"),
        "imatrix": ("an importance matrix, which helps to quantize", "name one of the quantized models instead"),
    }
)
"""`general.type` of GGUF files that no runtime can load as a model → (what the file is, what to do)."""

ADAPTER = "adapter"
"""`general.type` of a LoRA adapter."""

PROJECTOR_ARCHITECTURE = "clip"
"""`general.architecture` of every multimodal projector (tools/mtmd/clip.cpp of llama.cpp)."""
