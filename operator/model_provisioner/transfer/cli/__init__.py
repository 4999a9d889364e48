"""The commands `fetch` and `prune`: flags, output and exit codes."""
