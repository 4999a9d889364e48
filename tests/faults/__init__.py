"""Fault injection: a sample of the points in an ordinary run, all points with FAULTS=long (`make faults`)."""
