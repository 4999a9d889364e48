"""What the servers that speak S3 are made of: the `go.mod` of the Versity gateway, and a script for moto's Python.

What installs them is in `installs`, how a server is started in `buckets`.
"""

from pathlib import Path

MODULE = Path(__file__).parent
