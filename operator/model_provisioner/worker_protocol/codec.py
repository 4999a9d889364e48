"""Encodes and decodes messages as one JSON document per line. Both sides use this module.

msgspec reads and writes them instead of pydantic, which would use a seventh of a worker's memory.
"""

from typing import Any, get_args

import msgspec

from model_provisioner.worker_protocol.messages import Answer, Request

LONGEST_LINE_BYTES = 16 * 1024 * 1024
"""The longest line that a side reads. The plan of a model with many files is long."""


class _Operation(msgspec.Struct):
    op: str


class _Event(msgspec.Struct):
    event: str


def _by_name(field: str, kinds: tuple[Any, ...]) -> dict[str, Any]:
    """The classes `kinds` by the constant value of their `field`, which is the last one."""
    assert all(kind.__struct_fields__[-1] == field for kind in kinds)
    return {kind.__struct_defaults__[-1]: kind for kind in kinds}


_REQUESTS = _by_name("op", get_args(Request))
_ANSWERS = _by_name("event", get_args(Answer))


def encode_request(request: Request) -> bytes:
    """One line, including the newline."""
    return msgspec.json.encode(request) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises ValueError if the line is not a request."""
    kind = _REQUESTS.get(msgspec.json.decode(line, type=_Operation).op)
    if kind is None:
        raise ValueError("an operation that is not known")
    request: Request = msgspec.json.decode(line, type=kind)
    return request


def encode_answer(answer: Answer) -> bytes:
    """One line, including the newline."""
    return msgspec.json.encode(answer) + b"\n"


def decode_answer(line: bytes) -> Answer:
    """Raises ValueError if the line is not an answer."""
    kind = _ANSWERS.get(msgspec.json.decode(line, type=_Event).event)
    if kind is None:
        raise ValueError("an event that is not known")
    answer: Answer = msgspec.json.decode(line, type=kind)
    return answer
