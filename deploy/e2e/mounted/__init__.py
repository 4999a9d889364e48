"""The first scene: an operator that mounts its claim, and everything around one model on it."""
