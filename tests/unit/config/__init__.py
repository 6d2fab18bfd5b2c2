"""Tests of `mpp.config`."""
