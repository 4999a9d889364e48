"""Every way in which providing a model can fail, as one tree of exceptions.

The class name is at the same time the condition reason, the Event reason and the problem type of the
HTTP API, so it is part of the public contract. Two roots say who acts next: `Retryable` is tried
again by itself with a backoff, `Terminal` waits for a change of the object, of a Secret or of the
world. Every layer raises these; nothing here may know how an error came about. An exception outside
this tree is a bug and is shown as `InternalError`. `transfer.partfile.WriterSuperseded` is of neither
root: whom it tells to stop has nobody left to tell.

A message says what happened, to what, and what to do next. It never holds a secret or a signed URL.
"""


class ProvisionError(Exception):
    """What happened, to what, and what to do next, in words for people.

    `wants_token`: the message ends with the advice to give a token. How that is done differs between a cluster and a
    command line, so whoever shows the message adds it.
    """

    def __init__(self, message: str, *, wants_token: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.wants_token = wants_token

    @property
    def reason(self) -> str:
        """The one CamelCase word that conditions, Events and problem types carry."""
        return type(self).__name__


class Retryable(ProvisionError):
    """The same attempt may succeed later. `retry_after` is what the other side asked for, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None, *, wants_token: bool = False) -> None:
        super().__init__(message, wants_token=wants_token)
        self.retry_after = retry_after


class Terminal(ProvisionError):
    """The same attempt will fail again until somebody changes something."""


class SourceUnavailable(Retryable):
    """The source answered with a server error or could not be reached."""


class RateLimited(Retryable):
    """The source asked us to slow down (429)."""


class TransferStalled(Retryable):
    """Connections stay open and no bytes come."""


class NameResolutionFailed(Retryable):
    """The name of the source's host could not be resolved."""


class InsufficientStorage(Retryable):
    """The volume has less free space than the model needs."""


class CatalogUnavailable(Retryable):
    """The catalog ConfigMap could not be written, or has no room for one more model."""


class InternalError(Retryable):
    """Not foreseen: a bug of ours. The log has the traceback."""


class InvalidRef(Terminal):
    """The model ref is not spelled as any source spells it."""


class SourceNotFound(Terminal):
    """The repository, revision or file does not exist, or is private and no token was given."""


class AccessDenied(Terminal):
    """The source knows who asks and refuses, or the token is not valid."""


class LicenseNotAccepted(Terminal):
    """The model is gated and the token's account has not been granted access."""


class SecretNotFound(Terminal):
    """`spec.credentialsSecretRef` names a Secret that is not there or has no usable key."""


class TLSVerificationFailed(Terminal):
    """The source's certificate could not be verified."""


class AmbiguousModel(Terminal):
    """More than one model fits the ref."""


class IncompleteModel(Terminal):
    """A split model lacks some of its parts."""


class DigestMismatch(Terminal):
    """The bytes that came are not the bytes that were promised."""


class NotGGUF(Terminal):
    """The file is not a GGUF model: another format, a damaged header, or a GGUF file of another purpose."""


class PathConflict(Terminal):
    """Another object holds different bytes at the same path."""


class ClaimNotMounted(Terminal):
    """The operator does not mount the claim that the object asks for."""


class VolumeNotWritable(Terminal):
    """The volume refuses to be written."""


class VolumeUnsuitable(Terminal):
    """The volume lacks an operation that publishing a file safely needs."""


class VolumeChanged(Terminal):
    """The volume is not the one on which the object's files were recorded."""


class AddressNotAllowed(Terminal):
    """The address or host is not one that the administrator allows."""


class UnsupportedSource(Terminal):
    """The source, or what it offers, is not one that this version can fetch."""


def error_of(reason: str, message: str, retry_after: float | None = None, wants_token: bool = False) -> ProvisionError:
    """The error that another process reported by name; an unknown name is an `InternalError`."""
    known = {cls.__name__: cls for root in (Retryable, Terminal) for cls in root.__subclasses__()}
    cls = known.get(reason, InternalError)
    if issubclass(cls, Retryable):
        return cls(message, retry_after, wants_token=wants_token)
    return cls(message, wants_token=wants_token)
