"""Tests of `mpp.proxy`."""
