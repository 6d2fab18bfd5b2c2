"""Tests of `mpp.coverage`."""
