"""Downloads GGUF models into Kubernetes volumes: verified, resumable, visible while it happens.

Start reading at `controller/lifecycle.py` (what happens to one ModelDownload) or
`transfer/engine.py` (how the bytes of one plan reach a store).
"""

__version__ = "0.1.0"
