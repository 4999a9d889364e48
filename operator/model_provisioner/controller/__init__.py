"""The operator: reconciles ModelDownloads and gives work to worker processes. It fetches no bytes itself."""

import model_provisioner.kube.official_client  # noqa: F401 - before kopf, which would import the whole client
