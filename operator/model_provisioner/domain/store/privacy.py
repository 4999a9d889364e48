"""Decides whether only this process's user can change a file or directory of the store's private directory.

What another user can exchange or write before it is published is not what was hashed. `transfer.store.private_files`
looks, corrects the mode and acts on the answer; no file is opened here.
"""

import stat

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_open(mode: int) -> bool:
    """Whether `mode` gives any right to another user, so that it is to be corrected."""
    return bool(mode & _OTHERS)


def why_exposed(name: str, owner: int, mode: int, own: int) -> str | None:
    """Why another user than `own` (a uid) can change `name`, and what to do; None if no other user can.

    `owner` is its uid. `mode` is what the file system shows after it was corrected: file systems that show the same
    mode for every file, such as SMB, are private enough if that mode lets only the owner write.
    """
    if owner != own:
        return (
            f"{name} belongs to user {owner}, and this process runs as user {own}, so that another user could exchange "
            f"a file before it is published: if an earlier release ran as user {owner}, run `chown -R {own} "
            f".provisioner` on the volume; if the file system gives every file to user {owner} (SMB, FUSE, NFS with "
            f"all_squash), mount it with uid={own} or set podSecurity.runAsUser to {owner}; else another user made it: "
            "delete it"
        )
    if mode & _WRITE:
        return (
            f"other users can write to {name} (mode {stat.S_IMODE(mode):04o}), and the file system keeps no other, "
            "so that they could change a file before it is published: mount it with dir_mode=0755 and "
            "file_mode=0644 (SMB) or umask=022 (FUSE), or use a volume of another storage class"
        )
    return None
