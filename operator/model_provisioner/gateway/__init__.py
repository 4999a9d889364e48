"""The HTTP gateway: everything that `model-provisioner gateway` serves, from memory or with the caller's token."""
