"""What lies on a volume: paths, plans, digests, journals, holders of files, and free space."""
