"""When the records of a store may be relied on."""

import pytest

from model_provisioner.domain.store.confirmation import MAX_AGE_SECONDS, Confirmation, why_unconfirmed

NOW = 1_000_000_000
RECENT = Confirmation("confirmed-a.json", "models/models", NOW - MAX_AGE_SECONDS)
OLD = Confirmation("confirmed-b.json", "team/other", NOW - MAX_AGE_SECONDS - 1)
FUTURE = Confirmation("confirmed-b.json", "team/other", NOW + MAX_AGE_SECONDS + 1)
DAMAGED = Confirmation("confirmed-b.json", None, None)

UNCONFIRMED = {
    "never": ((), ["no operator has confirmed", "start the operator"]),
    "too long ago": (
        (OLD,),
        ["claim team/other", "the last time was 5m01s ago", "delete .provisioner/confirmed-b.json"],
    ),
    "in the future": ((FUTURE,), ["claim team/other"]),
    "damaged": ((DAMAGED,), ["claim unknown", ".provisioner/confirmed-b.json"]),
    "one of two claims": ((RECENT, OLD), ["claim team/other"]),
}


@pytest.mark.parametrize(("confirmations", "says"), UNCONFIRMED.values(), ids=UNCONFIRMED.keys())
def test_the_records_may_lack_one(confirmations: tuple[Confirmation, ...], says: list[str]) -> None:
    why = why_unconfirmed(confirmations, NOW)
    assert why is not None
    assert [part for part in says if part not in why] == []


def test_each_claim_has_confirmed_lately() -> None:
    assert why_unconfirmed((RECENT, Confirmation("confirmed-b.json", "team/other", NOW)), NOW) is None
