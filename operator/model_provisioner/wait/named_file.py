"""Finds the file that a ref names, in a process of its own. `command` calls it for `--ref`.

The parser of refs takes 2.5 MiB, which this process would keep for as long as it waits. Which refs name a file is
decided in `domain.refs.fixed_files`.
"""

import os

_FOUND, _REFUSED = b"=", b"!"


def named_file(ref: str, endpoint: str | None) -> str:
    """The path of the file to load, below the root of the volume; `endpoint` is that of an object in a bucket.

    Raises ValueError with a message for users if `ref` is no ref, or which file it means depends on its source.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, _answer(ref, endpoint))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    text = answer[1:].decode()
    if not answer.startswith(_FOUND):
        raise ValueError(f"--ref: {text or 'its parser has failed'}")
    return text


def _answer(ref: str, endpoint: str | None) -> bytes:
    """At most some KiB, which a pipe takes at once."""
    from model_provisioner.domain.errors import ProvisionError  # noqa: PLC0415 - in the child only
    from model_provisioner.domain.refs.fixed_files import fixed_files  # noqa: PLC0415 - in the child only
    from model_provisioner.domain.refs.refs import parse_lenient  # noqa: PLC0415 - in the child only

    try:
        files = fixed_files(parse_lenient(ref[:4096]), endpoint)
    except ProvisionError as error:
        return _REFUSED + error.message.encode(errors="replace")
    if files is None:
        return _REFUSED + (
            f"which file {ref[:120]!r} means is known only when its source was asked: use --name with the name of its "
            "ModelDownload and the catalog, or --path"
        ).encode(errors="replace")
    return _FOUND + files[0].encode(errors="replace")
