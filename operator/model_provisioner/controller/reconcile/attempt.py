"""One attempt to bring an object from its present state to what its spec asks for.

Read it from the top: check the published files, resolve the ref, plan the store, transfer, enter the catalog. Each step
that users see is an event. An error is raised to `reconciler`, which makes the attempts: when and whether there is
another one is not decided here.
"""

from collections.abc import Callable
from dataclasses import replace

from model_provisioner.controller.reconcile.confirmation import Confirmation
from model_provisioner.controller.reconcile.credentials import Secret, pod_credentials, read_secret
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.recheck import Recheck
from model_provisioner.controller.stores.store_client import new_request_id
from model_provisioner.controller.transfers.members import Member
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ClaimNotFound, VolumeChanged
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    FilesSeen,
    Lost,
    Resolved,
    Resolving,
    Started,
    Suspended,
    VerifyHandled,
)
from model_provisioner.domain.lifecycle.limits import check_plan
from model_provisioner.domain.lifecycle.published import planned_model, published_model
from model_provisioner.domain.lifecycle.snapshot import Snapshot
from model_provisioner.domain.modeldownload import Model, ModelDownload, ProjectorChoice, ReclaimPolicy
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.domain.store.holders import Holder, Holding
from model_provisioner.worker_protocol import messages


class Attempt:
    """One attempt. Run it once.

    `latest` returns the newest version of the object: its limits, its priority and `verifyAt` may change during the
    attempt; the other fields do not, because a change of those cancels the attempt. `snapshot` is the state when the
    attempt begins. `advance` receives each event at once. `on_secret` receives the Secret that was read for the
    object, also if that Secret has no usable token; it is not called if the object names none.
    """

    def __init__(
        self,
        deps: Dependencies,
        latest: Callable[[], ModelDownload],
        snapshot: Snapshot,
        advance: Callable[[Event], None],
        on_secret: Callable[[Secret], None],
    ) -> None:
        self._deps = deps
        self._latest = latest
        self._snapshot = snapshot
        self._advance = advance
        self._on_secret = on_secret
        self._lost: Lost | None = None

    async def run(self) -> None:
        """Returns when the object is Available or Suspended. Raises ProvisionError if the attempt has failed."""
        claim = self._deps.stores.claim_of(self._download)
        try:
            await self._run(claim)
        except ClaimNotFound as error:  # the files are gone with it
            if self._snapshot.ready and not self._lost:
                self._on_event(Lost(error.message, error.reason))
                await self._report_loss()
            raise

    async def _run(self, claim: Claim) -> None:
        if self._snapshot.ready and self._snapshot.model:
            await self._notice_other_volume(claim, self._snapshot.model)
        model = await self._in_mounted_store(claim, self._snapshot.model)
        if model and await self._is_published(claim, model):
            self._note_seen(claim)
            return
        await self._check_volume(claim)
        if self._download.spec.suspend and self._pinned:
            self._advance(Suspended())  # the hub is not asked: it may be down, and the model is known
            return
        if not self._snapshot.ready:
            self._advance(Resolving(f"asking what {self._download.spec.model_ref} is"))
        store_id = await self._deps.stores.expected_id(claim, self._download, self._store_id)
        credentials = await self._credentials()
        found = await self._resolve(claim, self._deps.stores.reference(claim, store_id), credentials)
        check_plan(found.plan)
        delete = self._download.spec.reclaim_policy is ReclaimPolicy.DELETE
        settled = await self._deps.stores.settle(claim, store_id, self._holder, found.plan, delete=delete)
        wanted_digest = self._download.spec.digest
        model = planned_model(settled.plan, claim.name, settled.store_id, wanted_digest, found.ollama)
        self._advance(Resolved(model))
        if self._download.spec.suspend:
            room = await self._deps.stores.measure(claim, settled.store_id, settled.plan)
            self._advance(Suspended(room, found.alternatives))
            return
        if settled.durable_bytes < settled.plan.total_bytes:
            self._deps.catalog.drop(self._download)  # an earlier attempt, which had the files, may have entered it
        self._deps.catalog.check_room(self._download, model)  # `enter` also checks it, but only after the transfer
        member = self._member(claim, settled, model, credentials)
        published = await self._deps.transfers.fetch(member)
        model = published_model(model, published.files, published.gguf)
        self._advance(Resolved(model))
        # The worker keeps the directory open. It would not notice that another volume is mounted there now.
        await self._deps.stores.check(claim, settled.store_id)
        await self._finish(model, read=published.read, origin=member.origin)
        self._note_seen(claim)

    def _note_seen(self, claim: Claim) -> None:
        """The files on a mounted claim are seen every minute; that is not noted."""
        if not self._deps.stores.is_mounted(claim):
            self._advance(FilesSeen(self._deps.claims.volume_of(claim) if self._deps.claims else None))

    async def _notice_other_volume(self, claim: Claim, model: Model) -> None:
        """The object is not Ready any more if its claim has another volume than that its files were seen on.

        A worker pod looks then whether it has them, too.
        """
        if self._deps.claims and self._deps.claims.is_replaced(claim, model.volume_name):
            now = self._deps.claims.volume_of(claim) or "none"
            what = f"claim {claim.name} has another volume ({now} instead of {model.volume_name})"
            self._on_event(Lost(f"{what}: a worker pod looks which files are on it", VolumeChanged.__name__))
            self._snapshot = replace(self._snapshot, ready=False)
            await self._report_loss()

    async def _in_mounted_store(self, claim: Claim, model: Model | None) -> Model | None:
        """`model` with the id of the mounted store if the object has its record there.

        An editor can write another id into the status, but no record onto the volume.
        """
        if model is None or not model.store_id:
            return model
        try:
            await self._deps.stores.check(claim, model.store_id)
        except VolumeChanged:
            found = await self._deps.stores.own_store_id(claim, self._download.uid)
            if found is None:
                return model
            model = replace(model, store_id=found)
            self._snapshot = replace(self._snapshot, model=model)
            self._advance(Available(model) if self._snapshot.ready else Resolved(model))
        return model

    async def _is_published(self, claim: Claim, model: Model) -> bool:
        """Whether every file is published, so that nothing is left to fetch. The hub is not asked: it may be down."""
        if self._snapshot.ready:
            if not await self._is_intact(claim, model):
                return False
            if self._deps.catalog.holds(self._download):  # it holds only what was confirmed
                return True
            if not await self._is_confirmed(claim, model):
                return False
            await self._deps.catalog.enter(self._download, model)
            return True
        if not await self._has_own_record(claim, model):
            return False
        await self._finish(model, read=False)
        return True

    async def _is_confirmed(self, claim: Claim, model: Model) -> bool:
        """Whether the volume confirms the content of the files, and not the status alone."""
        holding = Holding(self._holder, model.revision, model.files)
        return await Confirmation(self._deps.stores, claim, model, holding, self._on_event).is_confirmed()

    async def _check_volume(self, claim: Claim) -> None:
        """Raises VolumeChanged if another volume is mounted than the status names.

        A user must accept another volume for each object. Until then the object takes nothing from it.
        """
        if self._store_id:
            await self._deps.stores.check(claim, self._store_id)

    async def _has_own_record(self, claim: Claim, model: Model) -> bool:
        """Whether an earlier attempt published every file, and this object's own record still has each of them.

        Then only the volume or the catalog was unavailable.
        """
        if model.gguf is None or not model.store_id:  # never published, or published on a volume that was exchanged
            return False
        found = await self._deps.stores.check(claim, model.store_id, model.files, self._download.uid)
        return not (found.missing or found.unattested)

    async def _finish(self, model: Model, *, read: bool, origin: str = "") -> None:
        """Enters the model and makes it Available. `verifyAt` is handled only if this attempt has `read` its bytes.

        `origin` says where these came from if that was not the source.
        """
        await self._deps.catalog.enter(self._download, model)
        if read:
            self._advance(VerifyHandled(self._download.verify_at))
        self._advance(Available(model, origin))

    @property
    def _download(self) -> ModelDownload:
        return self._latest()

    @property
    def _pinned(self) -> Model | None:
        """The model that an earlier attempt resolved, if a transfer has started: the ref is immutable since then."""
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
        if not intact:
            await self._report_loss()
        return intact

    async def _report_loss(self) -> None:
        if self._lost:
            await self._deps.event_recorder.loss(self._download, self._lost)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Lost):  # the catalog must not list files that do not exist any more
            self._lost = event
            self._deps.catalog.drop(self._download)
        self._advance(event)

    async def _credentials(self) -> Credentials | None:
        ref, name = parse(self._download.spec.model_ref), self._download.spec.secret_name
        if name is None:
            return pod_credentials(ref, self._deps.endpoints, self._deps.ambient_buckets)
        secret = await read_secret(self._deps.api, self._download.namespace, name)
        self._on_secret(secret)
        return secret.credentials(ref, self._deps.endpoints)

    async def _resolve(self, claim: Claim, store: StoreRef, credentials: Credentials | None) -> messages.ResolvedAnswer:
        """Asks the source which files the ref names, at the recorded revision if there is one."""
        spec, endpoints = self._download.spec, self._deps.endpoints
        ref = parse(spec.model_ref)
        endpoint = endpoints.choose(ref.scheme, spec.endpoint) if ref.scheme in endpoints.own else ref.endpoint or ""
        request = messages.Resolve(
            new_request_id(),
            spec.model_ref,
            endpoint,
            revision=self._pinned.revision if self._pinned else None,
            digest=spec.digest,
            credentials=credentials,
            store=store,
            own_hub=endpoint == endpoints.own.get(ref.scheme, endpoint),
            projector=spec.projector is ProjectorChoice.AUTO,
        )
        if isinstance(ref, LocalRef) and not self._deps.stores.is_mounted(claim):
            return await self._deps.stores.resolve_local(claim, request)
        return await self._deps.resolve_client.resolve(request, self._download.namespace)

    def _member(self, claim: Claim, settled: messages.Settled, model: Model, credentials: Credentials | None) -> Member:
        """The object's part in a transfer, which it may share with other objects."""
        return Member(
            claim,
            self._holder,
            settled,
            credentials,
            self._download.creation_time,
            lambda: self._download.spec,
            lambda durable_bytes: self._advance(Started(model, durable_bytes)),
            self._advance,
        )
