"""`make e2e`: the chart and the image on a real cluster, from `helm install` to `helm uninstall`, in two scenes.

In the first, `mounted`, the operator has a volume; in the second, `worker_pods`, it has none, and serves claims of two
other namespaces. Unlike `deploy.local` it starts no cluster: KUBECONFIG names one, whose pods reach the machine that it
runs on.
"""
