"""The API of S3, and the access key of the pod that is asked for it."""
