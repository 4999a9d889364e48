"""One attempt to bring an object from wherever it is to where its spec wants it.

Reads top-down: is it there already? → what is it? → where does it go? → fetch → catalogue. Each step
that people should see is an event given to `advance`; an error is raised and judged by the lifecycle,
which makes the attempts.
"""

from collections.abc import Callable

from model_provisioner.controller.credentials import Secret, read_secret
from model_provisioner.controller.sharing import Member
from model_provisioner.controller.stores import Claim, new_id
from model_provisioner.controller.surroundings import Surroundings
from model_provisioner.controller.upkeep import Upkeep
from model_provisioner.domain.addresses import Origin
from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.modeldownload import Model, ModelDownload, ReclaimPolicy
from model_provisioner.domain.published import planned_model, published_model
from model_provisioner.domain.snapshot import (
    Available,
    Event,
    Lost,
    Resolved,
    Resolving,
    Snapshot,
    Started,
    Suspended,
    VerifyHandled,
)
from model_provisioner.transfer import protocol


class Attempt:
    """`snapshot` is where the object stands when the attempt begins; `secret` is what was read on the way.

    `latest` gives the object as it is now: limits, priority and the wish to have files read again may change on the
    way, and what an attempt was made for does not.
    """

    def __init__(
        self,
        around: Surroundings,
        latest: Callable[[], ModelDownload],
        snapshot: Snapshot,
        advance: Callable[[Event], None],
    ) -> None:
        self._around = around
        self._latest = latest
        self._snapshot = snapshot
        self._advance = advance
        self._lost: Lost | None = None
        self.secret: Secret | None = None

    async def run(self) -> None:
        """Returns when the object is Available or Suspended. Raises ProvisionError."""
        claim = self._around.stores.claim_of(self._subject)
        model = self._snapshot.model
        if model and await self._is_there(claim, model):
            return
        await self._check_volume(claim)
        if self._subject.spec.suspend and self._pinned:
            self._advance(Suspended())  # also while the hub is down: everything about it is known
            return
        if not self._snapshot.ready:
            self._advance(Resolving(f"asking what {self._subject.spec.model_ref} is"))
        store_id = self._around.stores.expected_id(claim, self._subject, self._store_id)
        credentials = await self._credentials()
        found = await self._resolve(self._around.stores.reference(claim, store_id), credentials)
        delete = self._subject.spec.reclaim_policy is ReclaimPolicy.DELETE
        settled = await self._around.stores.settle(claim, store_id, self._holder, found.plan, delete=delete)
        model = planned_model(settled.plan, claim.name, settled.store_id, self._subject.spec.digest)
        self._advance(Resolved(model))
        if self._subject.spec.suspend:
            room = await self._around.stores.measure(claim, settled.store_id, settled.plan)
            self._advance(Suspended(room, found.alternatives))
            return
        if settled.durable_bytes < settled.plan.total_bytes:
            self._around.catalog.drop(self._subject)  # where an earlier attempt, which had the files, has entered it
        self._around.catalog.check_room(self._subject, model)  # `enter` does it too, but that is many bytes later
        published = await self._around.transfers.provide(self._member(claim, settled, model, credentials))
        model = published_model(model, published.files, published.gguf)
        self._advance(Resolved(model))
        # The worker has the directory open and would not notice that another is in its place by now.
        await self._around.stores.check(claim, settled.store_id)
        await self._finish(model, read=published.read)

    async def _is_there(self, claim: Claim, model: Model) -> bool:
        """Is there nothing left to fetch? Only the volume is asked, so this is found also while the hub is down."""
        if self._snapshot.ready:
            intact = await self._is_intact(claim, model)
            if intact and not self._around.catalog.holds(self._subject):
                await self._around.catalog.enter(self._subject, model)
            return intact
        if not await self._was_published(claim, model):
            return False
        await self._finish(model, read=False)
        return True

    async def _check_volume(self, claim: Claim) -> None:
        """Raises VolumeChanged: only who says so can accept another one, and who does not keeps it from the others."""
        if self._store_id:
            await self._around.stores.check(claim, self._store_id)

    async def _was_published(self, claim: Claim, model: Model) -> bool:
        """Did an earlier attempt bring every file, and does this object's own record still vouch for each?

        Then only the volume was away, or the catalog.
        """
        if model.gguf is None or not model.store_id:  # never published, or on a volume that was given up
            return False
        found = await self._around.stores.check(claim, model.store_id, model.files, self._subject.uid)
        return not (found.missing or found.unvouched)

    async def _finish(self, model: Model, *, read: bool) -> None:
        """Where its bytes were not `read` for this, the wish to have them read is still to be fulfilled."""
        await self._around.catalog.enter(self._subject, model)
        self._advance(Available(model))
        if read:
            self._advance(VerifyHandled(self._subject.verify_at))

    @property
    def _subject(self) -> ModelDownload:
        return self._latest()

    @property
    def _pinned(self) -> Model | None:
        """What an earlier attempt resolved, once bytes of it were fetched: from then on the ref is immutable."""
        return self._snapshot.model if self._snapshot.start_time else None

    @property
    def _store_id(self) -> str | None:
        return self._snapshot.model.store_id if self._snapshot.model else None

    @property
    def _holder(self) -> protocol.Holder:
        return protocol.Holder(self._subject.uid, self._subject.namespace, self._subject.name)

    async def _is_intact(self, claim: Claim, model: Model) -> bool:
        upkeep = Upkeep(self._around.stores, self._around.patrol, claim, model, self._heed)
        try:
            intact = await upkeep.is_intact(self._subject, self._snapshot)
        finally:
            if self._lost:
                self._around.patrol.doubt(claim, model)
        if self._lost and not intact:
            await self._around.announcer.loss(self._subject, self._lost)
        return intact

    def _heed(self, event: Event) -> None:
        """Nobody may be sent to files that are not there any more."""
        if isinstance(event, Lost):
            self._lost = event
            self._around.catalog.drop(self._subject)
        self._advance(event)

    async def _credentials(self) -> protocol.Credentials | None:
        name = self._subject.spec.secret_name
        if name is None:
            return None
        self.secret = await read_secret(self._around.api, self._subject.namespace, name)
        return self.secret.credentials(self._around.hub)

    def _endpoint(self) -> str:
        """The hub to ask; another than the operator's own must be one that the administrator has listed."""
        wanted, hub = self._subject.spec.endpoint, self._around.hub
        if wanted is None or Origin.of(wanted) == Origin.of(hub):
            return wanted or hub
        origin = Origin.of(wanted)
        if not self._around.policy.lists(origin.host, origin.port):
            raise AddressNotAllowed(
                f"{origin} is no hub that may be asked: ask the administrator to add {origin.host}:{origin.port} to "
                "allowedHosts (--allow-host), or correct `endpoint`"
            )
        return wanted

    async def _resolve(self, store: protocol.StoreRef, credentials: protocol.Credentials | None) -> protocol.Resolved:
        """Ask the source what the ref means, at the revision that was recorded if there is one."""
        spec = self._subject.spec
        request = protocol.Resolve(
            new_id(),
            spec.model_ref,
            self._endpoint(),
            revision=self._pinned.revision if self._pinned else None,
            digest=spec.digest,
            credentials=credentials,
            store=store,
        )
        return await self._around.hubs.resolve(request)

    def _member(
        self, claim: Claim, settled: protocol.Settled, model: Model, credentials: protocol.Credentials | None
    ) -> Member:
        """What is asked of a transfer, which others may share."""
        return Member(
            claim,
            self._holder,
            settled,
            credentials,
            self._subject.creation_time,
            lambda: self._subject.spec,
            lambda bytes_there: self._advance(Started(model, bytes_there)),
            self._advance,
        )
