"""Tests of `domain.views`."""
