"""The API group and our annotations: the one place that spells them. Used by messages, `kube` and `controller`."""

GROUP = "models.rbee.dev"

RECONCILE_AT = f"{GROUP}/reconcileAt"
"""On a ModelDownload: try again now. Any new value counts."""

VERIFY_AT = f"{GROUP}/verifyAt"
"""On a ModelDownload: read every published byte again. Any new value counts."""

HOSTS = f"{GROUP}/hosts"
"""On a Secret: the hosts (`host[:port]`, separated by spaces or commas) that its credentials may be sent to."""
