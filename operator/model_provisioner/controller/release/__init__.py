"""`model-provisioner release`: takes our finalizer off every object, so that the operator can be uninstalled."""
