"""Tests of `mpp.discovery`."""
