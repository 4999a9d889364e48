"""Tests of `transfer.download`, against real servers on loopback and real volumes."""
