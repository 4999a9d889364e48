"""The errors that can occur while a model is provided, as one tree of exceptions.

Every layer raises them. The class name is also the condition reason, the Event reason and the problem type of the HTTP
API, so renaming a class breaks users. A `Retryable` error is retried with a backoff; a `Terminal` error waits for a
change of the object, of a Secret or of the environment. An exception outside this tree is a bug and is shown as
`InternalError`. `transfer.store.partfile.WriterSuperseded` has neither root: the process that raises it stops, and a
newer one reports the state.

A message says what happened, to what, and what to do next. It never contains a secret or a signed URL.
"""


class ProvisionError(Exception):
    """The root of the tree.

    `message` says what happened, to what, and what to do next. `wants_token` is True if the message ends with the
    advice to give a token; the caller that shows it adds how, which differs between a cluster and a command line.
    """

    def __init__(self, message: str, *, wants_token: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.wants_token = wants_token

    @property
    def reason(self) -> str:
        """The CamelCase reason for conditions, Events and problem types."""
        return type(self).__name__


class Retryable(ProvisionError):
    """The same attempt may succeed later. `retry_after` is the pause that the server asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None, *, wants_token: bool = False) -> None:
        super().__init__(message, wants_token=wants_token)
        self.retry_after = retry_after


class Terminal(ProvisionError):
    """The same attempt fails again until something outside the operator changes."""


class SourceUnavailable(Retryable):
    """The source answered with a server error or could not be reached."""


class RateLimited(Retryable):
    """The source limits the rate of requests (429)."""


class TransferStalled(Retryable):
    """Connections stay open and bring no bytes."""


class NameResolutionFailed(Retryable):
    """The name of the source's host could not be resolved."""


class InsufficientStorage(Retryable):
    """The volume has less free space than the model needs."""


class CatalogUnavailable(Retryable):
    """The catalog ConfigMap could not be written, or has no space for another model."""


class WorkerPending(Retryable):
    """The worker pod of the claim does not run yet. The message has what the scheduler or the kubelet says."""


class WorkerLost(Retryable):
    """The worker pod of the claim has ended or was cut off while it had something to do."""


class WorkerRefused(Retryable):
    """The API server does not admit the worker pod: a quota, a limit range, Pod Security, or a missing right."""


class ClaimNotFound(Retryable):
    """The claim, for which a worker pod is to run, does not exist or is being deleted."""


class ClaimPending(Retryable):
    """The claim has no volume yet, and is to get it by the first pod that uses it, not by a worker pod."""


class InternalError(Retryable):
    """A bug in the operator. The log has the traceback."""


class InvalidRef(Terminal):
    """The model ref is malformed."""


class SourceNotFound(Terminal):
    """The repository, revision or file does not exist, or is private and no token was given."""


class AccessDenied(Terminal):
    """The source denies access to the account of the token, or the token is invalid."""


class LicenseNotAccepted(Terminal):
    """The model is gated and the token's account has not been granted access."""


class SecretNotFound(Terminal):
    """`spec.credentialsSecretRef` names a Secret that does not exist or has no usable key."""


class TLSVerificationFailed(Terminal):
    """The source's certificate could not be verified."""


class AmbiguousModel(Terminal):
    """More than one model matches the ref."""


class IncompleteModel(Terminal):
    """A split model lacks some of its parts."""


class DigestMismatch(Terminal):
    """The content of a file does not have the expected digest."""


class NotGGUF(Terminal):
    """The file is not a GGUF model: another format, a damaged header, or a GGUF file that is not a model."""


class PathConflict(Terminal):
    """Another object holds different bytes at the same path."""


class ClaimNotMounted(Terminal):
    """The operator does not mount the claim that the object names."""


class VolumeNotWritable(Terminal):
    """The volume cannot be written."""


class VolumeUnsuitable(Terminal):
    """The file system lacks an operation that is needed to publish a file safely."""


class VolumeChanged(Terminal):
    """The volume is not the one on which the object's files were recorded."""


class AddressNotAllowed(Terminal):
    """The administrator does not allow the address or host."""


class UnsupportedSource(Terminal):
    """This version cannot fetch from the source, or cannot fetch this model from it."""


def error_of(reason: str, message: str, retry_after: float | None = None, wants_token: bool = False) -> ProvisionError:
    """The error that a worker reported by its `reason`; an unknown name becomes an `InternalError`."""
    known = {cls.__name__: cls for root in (Retryable, Terminal) for cls in root.__subclasses__()}
    cls = known.get(reason, InternalError)
    if issubclass(cls, Retryable):
        return cls(message, retry_after, wants_token=wants_token)
    return cls(message, wants_token=wants_token)
