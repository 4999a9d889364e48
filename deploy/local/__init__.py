"""A real Kubernetes control plane on one machine: etcd and kube-apiserver, without scheduler, kubelet and controllers.

Tests and the demo start one with `deploy.local.cluster.Cluster`; `make cluster` starts one for interactive use.
"""
