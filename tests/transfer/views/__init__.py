"""Tests of `transfer.views`."""
