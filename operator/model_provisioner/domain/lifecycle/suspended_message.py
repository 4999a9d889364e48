"""What there is to decide before a byte moves: how large a model is, whether it fits, and what else could be had.

The resolver says which others a repository has; the status of a suspended object tells people all of it.
"""

from dataclasses import dataclass

from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.space import Room

MOST_ALTERNATIVES = 12
_MOST_CHARACTERS = 600  # for them; the message they are in holds 1024, and what is to be done stands at its end


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another model of the same repository, `selector` is its quantisation or its path; `size` is in bytes."""

    selector: str
    size: int


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Those nearest in size, the smallest first, and how many more there are."""

    nearest: tuple[Alternative, ...] = ()
    more: int = 0


NO_ALTERNATIVES = Alternatives()


def suspended_message(size: str, bytes_here: int, room: Room | None, alternatives: Alternatives) -> str:
    """What is known of a model of `size` of which `bytes_here` were fetched; `room` None: nobody has measured."""
    return "; ".join(filter(None, (_fit(size, bytes_here, room), _others(alternatives))))


def _fit(size: str, bytes_here: int, room: Room | None) -> str:
    if bytes_here:
        return f"{format_bytes(bytes_here)} of {size} are here"
    if room is None:
        return f"{size} in all"
    free = f"{format_bytes(room.free)} are free"
    if room.needed > room.free:
        return f"{size} in all, which does not fit: {format_bytes(room.needed)} are needed and {free}"
    return f"{size} in all, {free}"


def _others(alternatives: Alternatives) -> str:
    listed, more, left = list[str](), alternatives.more, _MOST_CHARACTERS
    for one in alternatives.nearest:
        text = f"{one.selector} ({format_bytes(one.size)})"
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
