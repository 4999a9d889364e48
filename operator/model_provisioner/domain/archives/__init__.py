"""Archives that have a model in them: where its bytes are, found in headers that are not trusted."""
