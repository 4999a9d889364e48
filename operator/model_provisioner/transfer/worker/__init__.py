"""The worker process: requests from standard input, answers to standard output."""
