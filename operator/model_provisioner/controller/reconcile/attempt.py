"""One attempt to bring an object from wherever it is to where its spec wants it.

Reads top-down: is it there already? → what is it? → where does it go? → fetch → catalogue. Each step
that people should see is an event given to `advance`; an error is raised and judged by the lifecycle,
which makes the attempts.
"""

from collections.abc import Callable

from model_provisioner.controller.reconcile.credentials import Secret, read_secret
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.recheck import Recheck
from model_provisioner.controller.stores.store_client import new_request_id
from model_provisioner.controller.transfers.shared_transfer import Member
from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.lifecycle.published import planned_model, published_model
from model_provisioner.domain.lifecycle.snapshot import (
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
from model_provisioner.domain.modeldownload import Model, ModelDownload, ReclaimPolicy
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.domain.store.holders import Holder
from model_provisioner.worker_protocol import messages


class Attempt:
    """`snapshot` is where the object stands when the attempt begins; `secret` is what was read on the way.

    `latest` gives the object as it is now: limits, priority and the wish to have files read again may change on the
    way, and what an attempt was made for does not.
    """

    def __init__(
        self,
        deps: Dependencies,
        latest: Callable[[], ModelDownload],
        snapshot: Snapshot,
        advance: Callable[[Event], None],
    ) -> None:
        self._deps = deps
        self._latest = latest
        self._snapshot = snapshot
        self._advance = advance
        self._lost: Lost | None = None
        self.secret: Secret | None = None

    async def run(self) -> None:
        """Returns when the object is Available or Suspended. Raises ProvisionError."""
        claim = self._deps.stores.claim_of(self._download)
        model = self._snapshot.model
        if model and await self._is_there(claim, model):
            return
        await self._check_volume(claim)
        if self._download.spec.suspend and self._pinned:
            self._advance(Suspended())  # also while the hub is down: everything about it is known
            return
        if not self._snapshot.ready:
            self._advance(Resolving(f"asking what {self._download.spec.model_ref} is"))
        store_id = self._deps.stores.expected_id(claim, self._download, self._store_id)
        credentials = await self._credentials()
        found = await self._resolve(self._deps.stores.reference(claim, store_id), credentials)
        delete = self._download.spec.reclaim_policy is ReclaimPolicy.DELETE
        settled = await self._deps.stores.settle(claim, store_id, self._holder, found.plan, delete=delete)
        model = planned_model(settled.plan, claim.name, settled.store_id, self._download.spec.digest)
        self._advance(Resolved(model))
        if self._download.spec.suspend:
            room = await self._deps.stores.measure(claim, settled.store_id, settled.plan)
            self._advance(Suspended(room, found.alternatives))
            return
        if settled.durable_bytes < settled.plan.total_bytes:
            self._deps.catalog.drop(self._download)  # where an earlier attempt, which had the files, has entered it
        self._deps.catalog.check_room(self._download, model)  # `enter` does it too, but that is many bytes later
        published = await self._deps.transfers.fetch(self._member(claim, settled, model, credentials))
        model = published_model(model, published.files, published.gguf)
        self._advance(Resolved(model))
        # The worker has the directory open and would not notice that another is in its place by now.
        await self._deps.stores.check(claim, settled.store_id)
        await self._finish(model, read=published.read)

    async def _is_there(self, claim: Claim, model: Model) -> bool:
        """Is there nothing left to fetch? Only the volume is asked, so this is found also while the hub is down."""
        if self._snapshot.ready:
            intact = await self._is_intact(claim, model)
            if intact and not self._deps.catalog.holds(self._download):
                await self._deps.catalog.enter(self._download, model)
            return intact
        if not await self._was_published(claim, model):
            return False
        await self._finish(model, read=False)
        return True

    async def _check_volume(self, claim: Claim) -> None:
        """Raises VolumeChanged: only who says so can accept another one, and who does not keeps it from the others."""
        if self._store_id:
            await self._deps.stores.check(claim, self._store_id)

    async def _was_published(self, claim: Claim, model: Model) -> bool:
        """Did an earlier attempt bring every file, and does this object's own record still vouch for each?

        Then only the volume was away, or the catalog.
        """
        if model.gguf is None or not model.store_id:  # never published, or on a volume that was given up
            return False
        found = await self._deps.stores.check(claim, model.store_id, model.files, self._download.uid)
        return not (found.missing or found.unattested)

    async def _finish(self, model: Model, *, read: bool) -> None:
        """Where its bytes were not `read` for this, the wish to have them read is still to be fulfilled."""
        await self._deps.catalog.enter(self._download, model)
        self._advance(Available(model))
        if read:
            self._advance(VerifyHandled(self._download.verify_at))

    @property
    def _download(self) -> ModelDownload:
        return self._latest()

    @property
    def _pinned(self) -> Model | None:
        """What an earlier attempt resolved, once bytes of it were fetched: from then on the ref is immutable."""
        return self._snapshot.model if self._snapshot.start_time else None

    @property
    def _store_id(self) -> str | None:
        return self._snapshot.model.store_id if self._snapshot.model else None

    @property
    def _holder(self) -> Holder:
        return Holder(self._download.uid, self._download.namespace, self._download.name)

    async def _is_intact(self, claim: Claim, model: Model) -> bool:
        recheck = Recheck(self._deps.stores, self._deps.file_monitor, claim, model, self._on_event)
        try:
            intact = await recheck.is_intact(self._download, self._snapshot)
        finally:
            if self._lost:
                self._deps.file_monitor.notify(claim, model)
        if self._lost and not intact:
            await self._deps.event_recorder.loss(self._download, self._lost)
        return intact

    def _on_event(self, event: Event) -> None:
        """Nobody may be sent to files that are not there any more."""
        if isinstance(event, Lost):
            self._lost = event
            self._deps.catalog.drop(self._download)
        self._advance(event)

    async def _credentials(self) -> Credentials | None:
        name = self._download.spec.secret_name
        if name is None:
            return None
        self.secret = await read_secret(self._deps.api, self._download.namespace, name)
        return self.secret.credentials(self._deps.hub)

    def _endpoint(self) -> str:
        """The hub to ask; another than the operator's own must be one that the administrator has listed."""
        wanted, hub = self._download.spec.endpoint, self._deps.hub
        if wanted is None or Origin.of(wanted) == Origin.of(hub):
            return wanted or hub
        origin = Origin.of(wanted)
        if not self._deps.policy.lists(origin.host, origin.port):
            raise AddressNotAllowed(
                f"{origin} is no hub that may be asked: ask the administrator to add {origin.host}:{origin.port} to "
                "allowedHosts (--allow-host), or correct `endpoint`"
            )
        return wanted

    async def _resolve(self, store: StoreRef, credentials: Credentials | None) -> messages.ResolvedAnswer:
        """Ask the source what the ref means, at the revision that was recorded if there is one."""
        spec = self._download.spec
        request = messages.Resolve(
            new_request_id(),
            spec.model_ref,
            self._endpoint(),
            revision=self._pinned.revision if self._pinned else None,
            digest=spec.digest,
            credentials=credentials,
            store=store,
        )
        return await self._deps.resolve_client.resolve(request)

    def _member(self, claim: Claim, settled: messages.Settled, model: Model, credentials: Credentials | None) -> Member:
        """What is asked of a transfer, which others may share."""
        return Member(
            claim,
            self._holder,
            settled,
            credentials,
            self._download.creation_time,
            lambda: self._download.spec,
            lambda bytes_there: self._advance(Started(model, bytes_there)),
            self._advance,
        )
