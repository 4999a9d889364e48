"""Sources of models: each resolves a ref to a plan; no model bytes are fetched here."""
