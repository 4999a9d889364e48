"""Model refs: how they are spelled, which files they select, and which objects they match."""
