"""Tests of `transfer.download.requests`."""
