"""What the bytes of a file are: its header, its digest, and what an archive has around it."""
