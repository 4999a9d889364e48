"""Calls the GGUF reader with inputs from atheris, which are guided by code coverage.

`make fuzz` runs it for a minute. The first eight bytes of an input are the size of the file (little-endian), the rest
are its first bytes. The run ends with the input that caused it if the result is neither a header, a request for more
bytes nor NotGGUF; or if one input takes more than two seconds or 256 MiB, which libFuzzer limits.
"""

import sys

import atheris

with atheris.instrument_imports(include=["model_provisioner.domain"]):
    from model_provisioner.domain.errors import NotGGUF
    from model_provisioner.domain.gguf import format as fmt
    from model_provisioner.domain.gguf.header import GGUFHeader, check_complete, combine, read_header

_SIZE_BYTES = 8


def judge(content: bytes, file_size: int) -> None:
    """Raises AssertionError, or the unexpected error of the reader, if the reader is wrong."""
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
