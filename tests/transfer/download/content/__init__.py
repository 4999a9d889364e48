"""Tests of `transfer.download.content`."""
