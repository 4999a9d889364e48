"""The status says for every error what starts the next try, and how a token is given in a cluster."""

from datetime import timedelta

import pytest

from model_provisioner.domain.errors import (
    AccessDenied,
    ClaimNotMounted,
    DigestMismatch,
    ProvisionError,
    Retryable,
    Terminal,
    VolumeChanged,
)
from model_provisioner.domain.lifecycle.backoff import pause
from model_provisioner.domain.lifecycle.events import Event, Failed, Resolved, Started
from model_provisioner.domain.lifecycle.limits import MAX_MESSAGE
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import Status
from tests.support.samples import MODEL, NOW, after

ERRORS = [*Retryable.__subclasses__(), *Terminal.__subclasses__()]
STAGES: dict[str, list[Event]] = {"before": [Resolved(MODEL)], "since": [Resolved(MODEL), Started(MODEL, 0)]}


def message(error: ProvisionError, stage: str = "before") -> str:
    """The message of the Ready condition for `error` at a stage of fetching."""
    seconds = pause(error, 1, 0)
    failed = Failed(error, None if seconds is None else NOW + timedelta(seconds=seconds))
    return project(after(*STAGES[stage], failed), 1, NOW, Status()).conditions[0].message


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", ERRORS)
def test_what_is_not_tried_again_by_itself_says_what_brings_the_next_try(
    kind: type[ProvisionError], stage: str
) -> None:
    error = kind("so it is")
    told = message(error, stage)
    assert told.startswith("so it is")
    if pause(error, 1, 0) is not None:
        assert told == "so it is", "`nextRetryTime` says when"
    elif kind is ClaimNotMounted:
        assert "another claim takes another ModelDownload; this one is tried again when" in told
    else:
        assert "models.rbee.dev/reconcileAt" in told
        assert ("delete this ModelDownload" in told) == (stage == "since")


def test_what_is_fixed_since_fetching_began_is_not_to_be_corrected() -> None:
    assert "`modelRef`, `digest`, `endpoint` and `projector` can no longer be changed" in message(
        DigestMismatch("differs"), "since"
    )
    assert "when the spec is corrected" in message(DigestMismatch("differs"), "before")


def test_an_error_that_says_it_itself_is_left_alone() -> None:
    own = "put the right file there, then annotate with models.rbee.dev/reconcileAt"
    assert message(DigestMismatch(own), "since") == own
    assert message(VolumeChanged("another one")) == "another one"


def test_the_next_try_is_told_however_long_the_rest_is() -> None:
    told = message(DigestMismatch("x" * 2 * MAX_MESSAGE), "since")
    assert len(told) == MAX_MESSAGE
    assert told.endswith("annotate this one with models.rbee.dev/reconcileAt")


def test_a_token_is_given_as_a_secret() -> None:
    error = AccessDenied("the token has expired; give a valid one", wants_token=True)
    assert message(error) == "the token has expired; give a valid one (in a Secret that credentialsSecretRef names)"
