"""Makes the settings of Jobs from those of the operator. Reads the files that they name. Called by `pod_service`.

What a proxy's password would do in a pod of a tenant is decided here: the operator does not start with both.
"""

from typing import Any

from model_provisioner import __version__
from model_provisioner.controller.workers.pods.manifests import JobSettings, PodTemplate
from model_provisioner.controller.workers.pool import source_flags
from model_provisioner.settings.operator import OperatorSettings
from model_provisioner.settings.workers import WorkerTemplate

_SPEC = {
    "node_selector",
    "tolerations",
    "affinity",
    "priority_class_name",
    "runtime_class_name",
    "image_pull_secrets",
    "service_account_name",
}
_PROXY = (
    "--worker-listen: a worker pod runs in a tenant's namespace, where the password in the file of --proxy can be read"
)


def check(settings: OperatorSettings) -> None:
    """Raises ValueError if there can be no worker pods with `settings`, OSError if a file can't be read."""
    if settings.worker_listen:
        job_settings(settings)


def job_settings(settings: OperatorSettings) -> JobSettings:
    """Raises ValueError or OSError as `check`."""
    if settings.proxy and settings.proxy.startswith("@"):
        raise ValueError(_PROXY)
    return JobSettings(
        instance=settings.worker_instance,
        image=settings.worker_image or "",
        pull_policy=settings.worker_pull_policy,
        address=settings.worker_connect or "",
        flags=tuple(source_flags(settings)),
        version=__version__,
        server_name=server_name(settings) if settings.worker_tls_secret else None,
        source_authorities=settings.ca_file.read_text() if settings.ca_file else "",
        template=_template(settings),
    )


def server_name(settings: OperatorSettings) -> str:
    """The host that the pods connect to, which a certificate of the administrator's is for."""
    return (settings.worker_connect or "").rpartition(":")[0].strip("[]")


def _template(settings: OperatorSettings) -> PodTemplate:
    read = WorkerTemplate.model_validate_json(settings.worker_template)
    spec: dict[str, Any] = read.model_dump(by_alias=True, include=_SPEC, exclude_defaults=True)
    user = read.pod_security_context.model_dump(by_alias=True, exclude_none=True)
    return PodTemplate(read.labels, read.annotations, spec, read.resources, user)
