"""Clients of the servers that describe models: one repository, bucket or registry, and readers of its answers."""
