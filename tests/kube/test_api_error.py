"""The meaning of an error response of the API server, by its status."""

import pytest

from model_provisioner.kube.client import ApiError

MEANINGS = {
    0: {"is_unanswered", "is_transient"},
    401: {"is_unauthorized", "is_refused"},
    403: {"is_forbidden", "is_refused"},
    404: {"is_not_found"},
    409: {"is_conflict"},
    410: {"is_expired"},
    413: {"is_unacceptable"},
    422: {"is_invalid", "is_unacceptable"},
    400: {"is_unacceptable"},
    501: set[str](),
    **{status: {"is_transient"} for status in (429, 500, 502, 503, 504)},
}


@pytest.mark.parametrize("status", MEANINGS)
def test_each_status_has_the_meanings_that_its_callers_ask_for(status: int) -> None:
    error = ApiError(status, "Reason", "message")
    names = [name for name in vars(ApiError) if name.startswith("is_")]
    assert {name for name in names if getattr(error, name)} == MEANINGS[status]
