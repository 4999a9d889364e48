"""Writes the first inputs of the fuzzer: small valid files, and one file for each case that a loader refuses.

Made anew for each run, so that the repository holds no binary files. Called by `make fuzz`:
`python -m tests.fuzz.corpus DIRECTORY`.
"""

import struct
import sys
from pathlib import Path

from tests.support.gguf_headers import ARRAY, BOOL, F32, STRING, U8, U16, U32, U64, array, header, pair, string, tensor


def seeds() -> dict[str, bytes]:
    keys = (
        pair(b"general.architecture", STRING, string(b"llama")),
        pair(b"general.name", STRING, string("Modèle".encode())),
        pair(b"general.file_type", U32, struct.pack("<I", 15)),
        pair(b"general.alignment", U32, struct.pack("<I", 32)),
        pair(b"llama.context_length", U64, struct.pack("<Q", 4096)),
    )
    tokenizer = (
        pair(b"tokenizer.ggml.tokens", ARRAY, array(STRING, 2, string(b"a") + string(b"bc"))),
        pair(b"tokenizer.ggml.scores", ARRAY, array(F32, 2, bytes(8))),
        pair(b"tokenizer.chat_template", STRING, string(b"{{ x }}")),
        pair(b"flag", BOOL, b"\x01"),
    )
    split = (
        pair(b"split.no", U16, struct.pack("<H", 0)),
        pair(b"split.count", U16, struct.pack("<H", 2)),
        pair(b"split.tensors.count", U32, struct.pack("<I", 4)),
    )
    two = (tensor(b"a", (32, 2), kind=2), tensor(b"b", (4,), offset=64))
    return {
        "empty": header(),
        "version-2": header((keys[0],), version=2),
        "keys": header(keys),
        "tokenizer": header((*keys, *tokenizer)),
        "tensors": header(keys, two),
        "all": header((*keys, *tokenizer, *split), two),
        "adapter": header((pair(b"general.type", STRING, string(b"adapter")),)),
        "new-type": header((), (tensor(b"a", (7,), kind=99),)),
        "five-dimensions": header((), (tensor(b"a", (1,) * 5),)),
        "twice": header((pair(b"k", U8, b"1"), pair(b"k", U8, b"1"))),
        "page": b"<!doctype html><html></html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\n",
    }


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in seeds().items():
        (directory / name).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
