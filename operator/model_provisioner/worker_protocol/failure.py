"""An error of `domain.errors` as the fields of a message, and back. Used on both sides of the channel."""

from dataclasses import dataclass

from model_provisioner.domain.errors import ProvisionError, Retryable, error_of


@dataclass(frozen=True, slots=True)
class Failure:
    """`reason` is the name of a class in `domain.errors`; the rest are its fields."""

    reason: str
    message: str
    retry_after: float | None = None
    wants_token: bool = False

    @classmethod
    def of(cls, error: ProvisionError) -> "Failure":
        retry_after = error.retry_after if isinstance(error, Retryable) else None
        return cls(error.reason, error.message, retry_after, error.wants_token)

    @property
    def error(self) -> ProvisionError:
        return error_of(self.reason, self.message, self.retry_after, self.wants_token)
