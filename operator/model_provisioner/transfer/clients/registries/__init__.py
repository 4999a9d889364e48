"""The API of registries of OCI artifacts and of Ollama."""
