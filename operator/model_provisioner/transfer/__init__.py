"""Moving bytes, in worker processes and on the command line: resolve refs, download files, keep them in a store."""
