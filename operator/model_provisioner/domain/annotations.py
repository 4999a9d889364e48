"""The API group and the names of our annotations. `kube`, `controller`, `gateway` and messages take them from here."""

GROUP = "models.rbee.dev"

RECONCILE_AT = f"{GROUP}/reconcileAt"
"""On a ModelDownload: try again now. Each new value is one request."""

VERIFY_AT = f"{GROUP}/verifyAt"
"""On a ModelDownload: verify the published files again, every byte. Each new value is one request."""

HOSTS = f"{GROUP}/hosts"
"""On a Secret: the hosts (`host[:port]`, separated by spaces or commas) that its credentials may be sent to."""
