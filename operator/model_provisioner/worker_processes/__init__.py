"""Worker processes below this one: starting them, calling them, and surviving their death."""
