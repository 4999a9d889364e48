"""`model-provisioner wait`: an init container that waits for a model on a mounted volume, without a token."""
