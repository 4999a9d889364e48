"""Tests of `transfer.http`, against real servers on loopback."""
