"""Resolves `local:` refs. Called by `resolver`; what lies on the volume is read in `local_files`."""

from model_provisioner.domain.errors import InvalidRef
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.transfer.sources.source import Asked, Resolved, Source


class Local(Source[LocalRef]):
    """Files on the volume."""

    async def resolve(self, asked: Asked[LocalRef]) -> Resolved:
        """Raises what `plan` raises, and InvalidRef without a volume to look at."""
        store = asked.store
        if store is None:
            raise InvalidRef(f"{asked.ref} names a file of a volume, and no volume was given to look at")
        from model_provisioner.transfer.sources import local_files  # noqa: PLC0415 - needs the store, and no hub does

        return Resolved(await self._tools.on_volumes.run(lambda: local_files.plan(asked.ref, store, asked.digest)))
