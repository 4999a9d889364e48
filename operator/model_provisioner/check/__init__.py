"""`model-provisioner check`: asks a running gateway or operator over HTTP whether it works."""
