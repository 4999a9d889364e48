"""The worker processes: starting them, calling them, and surviving their death."""
