"""How the bytes of a file come: where it is asked for, and over which connections."""
