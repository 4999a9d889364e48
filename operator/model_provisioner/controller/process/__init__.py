"""What the operator needs as a process: leader election, kopf, probes, metrics. Nothing here knows about models."""
