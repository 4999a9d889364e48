"""The second scene: an operator without a volume, and worker pods for the claims of two namespaces."""
