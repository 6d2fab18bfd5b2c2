"""Tests of `mpp.app`."""
