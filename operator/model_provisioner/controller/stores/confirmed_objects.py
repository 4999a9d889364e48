"""Which objects that are Ready by their status are confirmed by the volume, at the start of the operator.

Called by `controller.start_stores`, before the catalog is written for the first time: it must list no model that only a
status knows, because an editor can write one. The reconciler of an object that is left out reads its files. For claims
that are not mounted, `controller.catalog.listed_before` decides.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import ProvisionError, VolumeChanged
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.holders import Holder, Holding

_LOG = logging.getLogger(__name__)
_BATCH_SIZE = 200
_CLAIM_SECONDS = 30.0


async def unconfirmed_uids(stores: StoreClient, downloads: Iterable[ModelDownload]) -> frozenset[str]:
    """The uids of the Ready objects of mounted claims whose files no record on the volume confirms.

    A volume that does not answer is not waited for: its objects count as confirmed, and stay listed as they were.
    """
    by_store: dict[tuple[Claim, str], list[Holding]] = defaultdict(list)
    for download in downloads:
        model = download.status.model
        if download.status.ready and model and not download.deleting:
            holder = Holder(download.uid, download.namespace, download.name)
            claim = Claim(download.namespace, model.claim_name)
            by_store[claim, model.store_id].append(Holding(holder, model.revision, model.files))
    mounted = [(claim, store_id, found) for (claim, store_id), found in by_store.items() if claim in stores.claims]
    answers = await asyncio.gather(*(_unconfirmed(stores, *one) for one in mounted))
    return frozenset().union(*answers)


async def _unconfirmed(stores: StoreClient, claim: Claim, store_id: str, holdings: Sequence[Holding]) -> set[str]:
    found = set[str]()
    try:
        async with asyncio.timeout(_CLAIM_SECONDS):
            for start in range(0, len(holdings), _BATCH_SIZE):
                batch = tuple(holdings[start : start + _BATCH_SIZE])
                found.update((await stores.record_ready(claim, store_id, batch)).without)
    except VolumeChanged:
        return {holding.holder.uid for holding in holdings}
    except (ProvisionError, TimeoutError) as error:
        _LOG.warning("the Ready objects on %s/%s are not confirmed: %s", claim.namespace, claim.name, error)
    return found
