"""The Jobs of worker pods: what they look like, how many there are, and what became of them."""
