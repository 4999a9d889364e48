"""Builds the message of a suspended download, with what a user needs to decide: size, free space, other models.

The resolver finds the other models of the repository; `domain.lifecycle.snapshot` calls this.
"""

from dataclasses import dataclass

from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.space import Room

MOST_ALTERNATIVES = 12
_MAX_CHARACTERS = 600  # for them; a message has at most 1024, and the end of it says what to do


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another model of the same repository. `selector` is its quantisation or path; `size` is in bytes."""

    selector: str
    size: int


@dataclass(frozen=True, slots=True)
class Alternatives:
    """The models `nearest` in size to the selected one, the smallest first, and how many `more` there are."""

    nearest: tuple[Alternative, ...] = ()
    more: int = 0


NO_ALTERNATIVES = Alternatives()


def suspended_message(size: str, bytes_here: int, room: Room | None, alternatives: Alternatives) -> str:
    """What is known of a model of `size` with `bytes_here` fetched. `room` is None if it was not measured."""
    return "; ".join(filter(None, (_fit(size, bytes_here, room), _others(alternatives))))


def _fit(size: str, bytes_here: int, room: Room | None) -> str:
    if bytes_here:
        return f"{format_bytes(bytes_here)} of {size} are here"
    if room is None:
        return f"{size} in all"
    if room.free is None:
        return f"{size} in all; the volume does not say how much is free"
    free = f"{format_bytes(room.free)} are free"
    if room.needed > room.free:
        return f"{size} in all, which does not fit: {format_bytes(room.needed)} are needed and {free}"
    return f"{size} in all, {free}"


def _others(alternatives: Alternatives) -> str:
    listed, more, left = list[str](), alternatives.more, _MAX_CHARACTERS
    for alternative in alternatives.nearest:
        text = f"{alternative.selector} ({format_bytes(alternative.size)})"
        left -= len(text)
        if left >= 0:
            listed.append(text)
        else:
            more += 1
    if more:
        listed.append(f"{more} more")
    if not listed:
        return ""
    *others, last = listed
    joined = f"{', '.join(others)} and {last}" if others else last
    return f"there {'is' if len(listed) == 1 and more < 2 else 'are'} also {joined}"
