"""Tests of `mpp.selection`."""
