"""Decides what the GGUF files in an archive are called, and which of them a layer means if it names one.

`transfer.sources.archives` calls this with what a walk found. A name in an archive is never used as a path: at most its
last part is, and `domain.store.paths` judges it like every name of a publisher.
"""

from collections.abc import Sequence

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.tar_walk import Member
from model_provisioner.domain.model_files.parts import is_gguf

_MOST_RATIO = 1032
"""What deflate reaches at most (zlib, "Maximum compression factor")."""
MAX_AROUND = 2 * 1024**3
"""How many bytes an archive may have beside the file that is fetched: they are fetched too, for the digest of the
archive, and again after each interruption."""


def named_members(members: Sequence[Member], layer: str) -> dict[str, Member]:
    """The files by their names. `layer` is the name of the layer, "" if it has none.

    A layer that is called like a model names its only one, or the one of several whose name ends like it. Raises
    BadArchive if two files share a name.
    """
    if is_gguf(layer):
        last = layer.rpartition("/")[2]
        same = members if len(members) == 1 else [one for one in members if one.base_name == last]
        if len(same) == 1:
            return {layer: same[0]}
    found = {one.base_name: one for one in members}
    if len(found) < len(members):
        raise BadArchive("has several GGUF files of one name")
    return found


def in_gzip(members: Sequence[Member], layer: str, packed: int) -> dict[str, Member]:
    """As `named_members`, for an archive in gzip of `packed` bytes, which must have one GGUF file alone.

    Only its beginning is unpacked before it is fetched, so that another file could not be chosen instead. Raises
    BadArchive for more files, and for one that is larger than such a gzip can hold.
    """
    if len(members) > 1:
        raise BadArchive(f"has {members[1].name[:120]!a} too, and one model is read of gzip")
    if any(member.size > packed * _MOST_RATIO for member in members):
        raise BadArchive("says a size that no gzip of its size can hold")
    return named_members(members, layer)
