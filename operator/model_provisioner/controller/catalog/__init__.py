"""The ready models of each namespace, published as a ConfigMap."""
