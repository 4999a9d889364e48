"""Feeds the GGUF reader whatever atheris comes up with, guided by which lines that reaches.

`make fuzz` runs it for a minute. The first eight bytes of an input are the file's claimed size, the rest its first
bytes. Anything but a header, a wish for more bytes or NotGGUF ends the run with the input that did it; so do more
than two seconds or 256 MiB for one input, by libFuzzer's own limits.
"""

import sys

import atheris

with atheris.instrument_imports(include=["model_provisioner.domain"]):
    from model_provisioner.domain.errors import NotGGUF
    from model_provisioner.domain.gguf import format as fmt
    from model_provisioner.domain.gguf.header import GGUFHeader, check_complete, combine, read_header

_SIZE_BYTES = 8


def judge(content: bytes, file_size: int) -> None:
    """Raises AssertionError, or what the reader should not have raised, where the reader breaks its promise."""
    refused = refusal(content, file_size)
    assert refused is None or refused.message.isprintable()


def refusal(content: bytes, file_size: int) -> NotGGUF | None:
    try:
        found = read_header(content, file_size)
        if not isinstance(found, GGUFHeader):
            assert min(len(content), file_size) < found.needed <= min(file_size, fmt.MAX_HEADER)
            return None
        check_complete(found, file_size)
    except NotGGUF as refused:
        return refused
    assert found.tensors_end <= file_size
    assert found.split is not None or combine([found]) == found.summary
    return None


def one_input(data: bytes) -> None:
    content = data[_SIZE_BYTES:]
    judge(content, int.from_bytes(data[:_SIZE_BYTES], "little"))
    judge(data, len(data))


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
