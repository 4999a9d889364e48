"""Downloads of the files of one plan into a store: connections, ranges, bandwidth, checkpoints and hashes."""
