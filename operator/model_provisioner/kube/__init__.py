"""Access to the Kubernetes API for the controller and the gateway: requests, watches, and our resource."""
