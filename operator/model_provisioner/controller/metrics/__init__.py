"""The Prometheus metrics of the operator: what each means, and the registry that serves them."""
