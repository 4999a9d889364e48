"""Rules for the transfer of one file: byte spans, ranges, and the number of connections."""
