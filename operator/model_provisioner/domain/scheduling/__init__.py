"""Rules for downloads that compete: the queue order, shares of bandwidth, and reserved space."""
