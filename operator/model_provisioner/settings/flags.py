"""Makes the flags of a program from its settings class, and tells what is wrong with their values.

`controller.command` and `gateway.command` call it. argparse only splits the command line; the settings class judges
every value, so a value is treated alike in a flag and in the environment.
"""

import argparse
import sys
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings


@dataclass(frozen=True, slots=True)
class Metavar:
    """The name of a flag's value in `--help`. It stands in the `Annotated` type of a field.

    `bare` is the value of a flag that is given without one; None if it needs one.
    """

    name: str
    bare: str | None = None


def add_flags(parser: argparse.ArgumentParser, settings: type[BaseSettings]) -> None:
    """Adds a flag for each field that has a description, which is the help text: `--max-streams` for `max_streams`.

    The namespace has only the flags that were given, so `settings(**vars(args))` takes the others from the environment.
    """
    for name, field in settings.model_fields.items():
        if field.description:
            parser.add_argument(_flag(name), default=argparse.SUPPRESS, help=field.description, **_options(field))


def explain(error: ValidationError) -> str:
    """What is wrong with the settings, one line for each problem, with the name of its flag if it is about one."""
    lines = []
    for problem in error.errors():
        flag = f"{_flag(str(problem['loc'][0]))}: " if problem["loc"] else ""
        lines.append(flag + problem["msg"].removeprefix("Value error, "))
    return "\n".join(lines)


def refuse(subcommand: str, why: str) -> int:
    """Prints `why` to standard error as argparse does for a wrong flag. Returns the exit code for that, 2."""
    print(f"model-provisioner {subcommand}: {why}", file=sys.stderr)  # noqa: T201
    return 2


def fail(subcommand: str, why: str) -> int:
    """Prints `why` the program can't go on. Returns the exit code for that, 1."""
    refuse(subcommand, why)
    return 1


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _options(field: FieldInfo) -> dict[str, Any]:
    """The arguments of `add_argument` that depend on the type of the field."""
    named = next((item for item in field.metadata if isinstance(item, Metavar)), None)
    metavar = named.name if named else None
    if field.annotation is bool:
        return {"action": "store_true"}
    if get_origin(field.annotation) is Literal:
        return {"choices": get_args(field.annotation)}
    if get_origin(field.annotation) is list:
        bare = {"nargs": "?", "const": named.bare} if named and named.bare else {}
        return {"metavar": metavar, "action": "append", **bare}
    return {"metavar": metavar}
