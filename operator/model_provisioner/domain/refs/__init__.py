"""Model refs: how those of each source are spelled, and which objects they match."""
