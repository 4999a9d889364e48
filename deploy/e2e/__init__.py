"""`make e2e`: the chart and the image on a real cluster, from `helm install` to `helm uninstall`.

Unlike `deploy.local` it starts no cluster: KUBECONFIG names one, whose pods reach the machine that it runs on.
"""
