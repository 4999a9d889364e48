"""The process in a worker pod: it connects to the operator and passes its requests to workers below it."""
