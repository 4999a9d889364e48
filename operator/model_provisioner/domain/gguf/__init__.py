"""The GGUF file format: its numbers, and a reader for the header that does not trust the file."""
