"""Tests of `mpp.core`."""
