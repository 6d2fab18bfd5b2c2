"""Tests of `mpp.cache`."""
