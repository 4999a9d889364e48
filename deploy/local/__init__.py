"""A real Kubernetes control plane on one machine: etcd and kube-apiserver, and nothing that schedules or runs pods.

Tests and the demo start theirs with `deploy.local.cluster.Cluster`; people start one with `make cluster`.
"""
