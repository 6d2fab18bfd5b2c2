"""Tests of `mpp.security`."""
