"""Everything the controller asks of the stores on the mounted volumes, except the transfer of bytes."""
