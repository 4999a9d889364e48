"""checkov and kube-score over the rendered chart. `deploy/scan-exceptions.yaml` has what stands, and why."""
