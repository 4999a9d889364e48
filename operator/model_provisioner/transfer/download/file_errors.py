"""The errors of a file that is not, or not any more, what it should be, in words for users. Called by `engine`."""

from model_provisioner.domain.errors import DigestMismatch, SourceUnavailable, VolumeUnsuitable
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile


def still_written(file: PlannedFile) -> SourceUnavailable:
    return SourceUnavailable(f"{file.path} has changed on the volume a moment ago: is it still being written?")


def changed(file: PlannedFile) -> VolumeUnsuitable:
    return VolumeUnsuitable(
        f"another process has exchanged or changed {file.path} while it was verified, so it is not Ready: "
        "let no other program write there (persistence.directoryMode 0755)"
    )


def mismatch(file: PlannedFile, found: Digest) -> DigestMismatch:
    return DigestMismatch(
        f"{file.path} should be {file.digest} and is {found}: compare the digest with its publisher's; "
        "where that is the same, the file at the source is damaged"
    )
