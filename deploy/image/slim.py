"""Leaves out of an installed environment what the program never imports, which is more than half of it.

Run with the interpreter of that environment: by `deploy/Dockerfile`, by `make image-environment` and by the tests. It
needs the standard library only. Whether the program still works without these files is what the tests of the image say.
"""

import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

UNUSED = {
    "certifi": "requests; our connections trust the system's certificates",
    "charset-normalizer": "requests",
    "click": "the command `kopf`; the operator calls kopf.operator",
    "durationpy": "the synchronous half of kubernetes",
    "oauthlib": "the synchronous half of kubernetes",
    "requests": "the synchronous half of kubernetes",
    "requests-oauthlib": "the synchronous half of kubernetes",
    "tzdata": "dateutil, on systems without time zones",
    "websocket-client": "the synchronous half of kubernetes",
}
"""Distributions that are required by those that we use, and never imported: name, and what would import it."""

UNUSED_FILES = {
    "kubernetes": (
        *(f"{half}/**/*" for half in ("client", "config", "dynamic", "informer", "leaderelection")),
        *(f"{half}/**/*" for half in ("stream", "utils", "watch")),
        "aio/client/api/[!_]*",
        "aio/client/models/[!_]*",
    )
}
"""Packages of which only a part is imported: patterns of the other files. Of kubernetes we use the login of the asyncio
half (`model_provisioner.kube.official_client`), and not one of its classes for resource types."""


def main() -> None:
    packages = Path(sysconfig.get_path("purelib"))
    before = size(packages)
    for name in UNUSED:
        remove(located(file) for file in metadata.files(name) or [])
    for package, patterns in UNUSED_FILES.items():
        for pattern in patterns:
            found = list((packages / package).glob(pattern))
            if not found:
                raise SystemExit(f"{package} has no {pattern}: it has changed, look at deploy/image/slim.py again")
            remove(found)
    remove_empty_directories(packages)
    print(f"{packages}: {before / 1e6:.0f} MB, now {size(packages) / 1e6:.0f} MB")


def located(file: metadata.PackagePath) -> Path:
    return Path(str(file.locate()))


def remove(files: Iterable[Path]) -> None:
    for file in files:
        if file.is_file():
            file.unlink()


def remove_empty_directories(below: Path) -> None:
    for directory in sorted((path for path in below.rglob("*") if path.is_dir()), reverse=True):
        if not any(directory.iterdir()):
            directory.rmdir()


def size(directory: Path) -> int:
    """The bytes of all files below `directory`."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
