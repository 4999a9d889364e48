"""Rules for pods that wait for models behind a scheduling gate: what a pod asks for, when its gate opens, and how."""
