"""Moving bytes onto volumes: the queue, the shared transfers, and the limits that they keep."""
