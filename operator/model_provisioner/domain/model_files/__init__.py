"""Which files of a repository, a directory or an artifact are the model that a ref means."""
