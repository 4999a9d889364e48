"""A FUSE file system in memory that fails on command and simulates a loss of power.

Started by `faulty_volume` as a program: it serves one mount point and reads commands from standard input. A loss of
power drops all that POSIX does not promise to keep: content is durable after fsync of the file, a name after fsync of
its directory, and a rename is two changes of two directories. Real file systems keep more.
"""

import errno
import os
import stat
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import mfusepy

BLOCK = 4096


@dataclass
class Node:
    """A file (`data`) or a directory (`entries`). The `durable_` fields are what a loss of power leaves."""

    number: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    entries: "dict[str, Node]" = field(default_factory=dict)
    durable_data: bytes = b""
    durable_entries: "dict[str, Node]" = field(default_factory=dict)
    mtime_ns: int = field(default_factory=time.time_ns)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def sync(self) -> None:
        self.durable_data, self.durable_entries = bytes(self.data), dict(self.entries)

    def forget(self) -> None:
        self.data, self.entries = bytearray(self.durable_data), dict(self.durable_entries)


@dataclass
class Faults:
    """Calls `first` to `last` (from 1) of those named in `calls` fail with the errno `number`.

    `calls` None means all calls that change the file system. `seen` counts them.
    """

    first: int = 0
    last: int = 0
    number: int = 0
    calls: frozenset[str] | None = None
    seen: int = 0

    def strike(self, call: str) -> None:
        """Counts the call; raises FuseOSError if it must fail."""
        if self.calls is not None and call not in self.calls:
            return
        self.seen += 1
        if self.number and self.first <= self.seen <= self.last:
            raise mfusepy.FuseOSError(self.number)


class MemoryVolume(mfusepy.Operations):  # type: ignore[misc]
    """`capacity` is what statfs reports, in bytes; it is not enforced. A test makes calls fail with ENOSPC instead."""

    use_ns = True

    def __init__(self, capacity: int) -> None:
        self.faults = Faults()
        self._capacity = capacity
        self._lock = threading.Lock()
        self._longest_name = 255
        self._statfs: dict[str, int] = {}
        self._stat: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._numbers = 1
        self._handles: dict[int, Node] = {}
        self._root = self._node(stat.S_IFDIR | 0o755)

    def order(self, line: str) -> str:
        """Carries out one command; returns the answer."""
        word, *arguments = line.split()
        with self._lock:
            if word == "fail":
                first, last, name, *calls = arguments
                self.faults = Faults(int(first), int(last), getattr(errno, name), frozenset(calls) or None)
            elif word == "heal":
                seen, self.faults = self.faults.seen, Faults()
                return str(seen)
            elif word == "power-cycle":
                self._lose_power()
            elif word == "longest-name":
                self._longest_name = int(arguments[0])
            elif word == "statfs":
                self._statfs = _numbers(arguments)
            elif word == "stat":
                self._stat = _numbers(arguments)
            elif word == "show":
                self._shown = _numbers(arguments)
            elif word == "format":
                self._root = self._node(stat.S_IFDIR | 0o755)
        return "done"

    def _lose_power(self) -> None:
        """Resets each node that can be reached, from the root down, to its durable state."""
        waiting, met = [self._root], set[int]()
        while waiting:
            node = waiting.pop()
            if node.number not in met:
                met.add(node.number)
                node.forget()
                waiting.extend(node.entries.values())

    def _node(self, mode: int) -> Node:
        self._numbers += 1
        return Node(self._numbers, mode)

    def _find(self, path: str) -> Node:
        node = self._root
        for part in path.split("/"):
            if len(part) > self._longest_name:
                raise mfusepy.FuseOSError(errno.ENAMETOOLONG)
            if part:
                found = node.entries.get(part)
                if found is None:
                    raise mfusepy.FuseOSError(errno.ENOENT)
                node = found
        return node

    def _parent(self, path: str) -> tuple[Node, str]:
        above, _, name = path.rpartition("/")
        return self._find(above), name

    def _links(self, node: Node) -> int:
        waiting, links = [self._root], 0
        while waiting:
            entries = waiting.pop().entries.values()
            links += sum(entry is node for entry in entries)
            waiting.extend(entry for entry in entries if entry.is_directory)
        return links

    def _open(self, node: Node) -> int:
        self._numbers += 1
        self._handles[self._numbers] = node
        return self._numbers

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        node = self._handles[fh] if fh in self._handles else self._find(path)
        links = 2 if node.is_directory else self._links(node)
        size = len(node.data)
        times = dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), node.mtime_ns)
        blocks = -(-size // BLOCK) * BLOCK // 512
        owner = {"st_uid": self._shown.get("owner", os.getuid()), "st_gid": os.getgid()}
        mode = stat.S_IFMT(node.mode) | self._shown.get("mode", stat.S_IMODE(node.mode))
        found = {"st_mode": mode, "st_nlink": links, "st_size": size, "st_blocks": blocks, **owner, **times}
        return found if node.is_directory else {**found, **self._stat}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self._find(path).entries]

    def statfs(self, path: str) -> dict[str, int]:
        blocks = self._capacity // BLOCK
        return {
            "f_bsize": BLOCK,
            "f_frsize": BLOCK,
            "f_blocks": blocks,
            "f_bfree": blocks // 2,
            "f_bavail": blocks // 2,
            **self._statfs,
        }

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        with self._lock:
            self.faults.strike("create")
            parent, name = self._parent(path)
            node = parent.entries[name] = self._node(stat.S_IFREG | stat.S_IMODE(mode))
            return self._open(node)

    def open(self, path: str, flags: int) -> int:
        with self._lock:
            return self._open(self._find(path))

    def release(self, path: str, fh: int) -> None:
        self._handles.pop(fh, None)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            if self.faults.calls and "read" in self.faults.calls:
                self.faults.strike("read")
            return bytes(self._handles[fh].data[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._lock:
            self.faults.strike("write")
            node = self._handles[fh]
            node.data.extend(bytes(max(0, offset - len(node.data))))
            node.data[offset : offset + len(data)] = data
            node.mtime_ns = time.time_ns()
            return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        with self._lock:
            self.faults.strike("truncate")
            node = self._handles[fh] if fh in self._handles else self._find(path)
            del node.data[length:]
            node.data.extend(bytes(length - len(node.data)))
            node.mtime_ns = time.time_ns()

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        with self._lock:
            self.faults.strike("fsync")
            self._handles[fh].sync()

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        with self._lock:
            self.faults.strike("fsyncdir")
            self._find(path).sync()

    def mkdir(self, path: str, mode: int) -> None:
        with self._lock:
            self.faults.strike("mkdir")
            parent, name = self._parent(path)
            parent.entries[name] = self._node(stat.S_IFDIR | mode)

    def rmdir(self, path: str) -> None:
        with self._lock:
            self.faults.strike("rmdir")
            parent, name = self._parent(path)
            if parent.entries[name].entries:
                raise mfusepy.FuseOSError(errno.ENOTEMPTY)
            del parent.entries[name]

    def unlink(self, path: str) -> None:
        with self._lock:
            self.faults.strike("unlink")
            parent, name = self._parent(path)
            del parent.entries[name]

    def rename(self, old: str, new: str) -> None:
        with self._lock:
            self.faults.strike("rename")
            (source, name), (target, renamed) = self._parent(old), self._parent(new)
            target.entries[renamed] = source.entries.pop(name)

    def link(self, target: str, source: str) -> None:
        with self._lock:
            self.faults.strike("link")
            parent, name = self._parent(target)
            parent.entries[name] = self._find(source)

    def symlink(self, target: str, source: str) -> None:
        with self._lock:
            self.faults.strike("symlink")
            parent, name = self._parent(target)
            node = parent.entries[name] = self._node(stat.S_IFLNK | 0o777)
            node.data.extend(source.encode())
            node.sync()

    def readlink(self, path: str) -> str:
        with self._lock:
            return self._find(path).data.decode()

    def chmod(self, path: str, mode: int) -> None:
        with self._lock:
            self.faults.strike("chmod")
            node = self._find(path)
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        with self._lock:
            self.faults.strike("chown")

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        self._find(path).mtime_ns = times[1] if times else time.time_ns()


def _numbers(arguments: list[str]) -> dict[str, int]:
    """The fields of an order, such as `f_bfree=0`."""
    return {name: int(value) for name, _, value in (argument.partition("=") for argument in arguments)}


def main(mount: str, capacity: int) -> None:
    volume = MemoryVolume(capacity)

    def obey() -> None:
        for line in sys.stdin:
            sys.stdout.write(f"{volume.order(line)}\n")
            sys.stdout.flush()

    threading.Thread(target=obey, daemon=True).start()
    # The kernel caches nothing, so that a loss of power needs no new mount.
    options = {"direct_io": True, "hard_remove": True, "entry_timeout": 0, "attr_timeout": 0, "negative_timeout": 0}
    mfusepy.FUSE(volume, mount, foreground=True, nothreads=True, **options)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
