"""Campaigns of faults: bounded in the ordinary run, whole with FAULTS=long (`make faults`)."""
