"""Where a worker pod gets a file that is published on a claim of the operator: from the operator, over its door.

`engine` asks there first, and goes on at the source if the operator does not send what was planned. The bytes are
verified as those of any source. A client of this module reaches the operator and nothing else, and no other client
reaches it: the guard for private addresses has no exception for refs.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AddressNotAllowed,
    NameResolutionFailed,
    ProvisionError,
    SourceUnavailable,
    TLSVerificationFailed,
    TransferStalled,
)
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.domain.refusals.retry_after import retry_after
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.transfer.download.requests.place import Headers, OnRequest, Opened
from model_provisioner.transfer.http.address_guard import system_resolve
from model_provisioner.transfer.http.client import Client
from model_provisioner.worker_protocol.copies import FILES_PATH, Copy, DoorAddress

_BUSY = 503


class CopyRefused(ProvisionError):
    """The operator has no such copy, or not any more. It never leaves the engine, which asks the source then."""


COPY_ERRORS = (
    CopyRefused,
    SourceUnavailable,
    TransferStalled,
    NameResolutionFailed,
    TLSVerificationFailed,
    AddressNotAllowed,
)
"""What ends a copy and not the download."""


class Copies:
    """The files that one fetch can have from the operator at `door`."""

    def __init__(self, copies: tuple[Copy, ...], door: DoorAddress) -> None:
        self._grants = {copy.path: copy.grant for copy in copies}
        self._door = door
        self._copied = 0
        self._counting: Callable[[], int] = lambda: 0

    @property
    def copied(self) -> int:
        """How many bytes have come from the operator."""
        return self._copied + self._counting()

    def place(self, file: PlannedFile, client: Client) -> "CopyPlace | None":
        """Where `file` is asked for; None if it has no grant. `client` lends its connections."""
        grant = self._grants.get(file.path)
        return CopyPlace(client, self._door, grant) if grant else None

    @contextlib.contextmanager
    def counting(self, received: Callable[[], int]) -> Iterator[None]:
        """What is added to `received` while the block runs comes from the operator."""
        before = received()
        self._counting = lambda: received() - before
        try:
            yield
        finally:
            self._copied, self._counting = self.copied, lambda: 0


class CopyPlace:
    """The file of `grant` at the operator. It is known by its certificate, whatever its address is."""

    credentials: Credentials | None = None

    def __init__(self, client: Client, door: DoorAddress, grant: str) -> None:
        self._host, _, port = door.address.rpartition(":")
        self._door = door
        self._grant = grant
        self._origin = Origin("https", door.server_name, int(port))
        self._client = client.reaching_only(self._origin, str(Path(door.files) / "ca.crt"), self._resolve)
        self._token = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self._token, self._grant)))

    async def open(self, headers: Headers, on_request: OnRequest) -> Opened:
        """See `Place.open`. Raises CopyRefused if this pod has lost its token."""
        try:
            self._token = (Path(self._door.files) / "token").read_text().strip()
        except OSError as error:
            raise CopyRefused(f"the token of this pod can't be read: {error.strerror}") from None
        url = f"{self._origin}{FILES_PATH}/{self._grant}?job={self._door.job}"
        authorization = {"Authorization": f"Bearer {self._token}"}
        reply = await self._client.get(url, {**headers, **authorization}, None, on_request)
        return Opened(reply, self._origin, None)

    async def _resolve(self, _host: str, port: int) -> list[str]:
        return await system_resolve(self._host.strip("[]"), port)


def copy_error(status: int, headers: Mapping[str, str], request: HubRequest, now: float) -> ProvisionError:
    """The error for an answer of the operator with `status`. Only a busy one is asked again."""
    if status == _BUSY:
        return SourceUnavailable("the operator sends files to many worker pods", retry_after(headers, now))
    return CopyRefused(f"the operator has no copy of {request.subject} ({status})")
