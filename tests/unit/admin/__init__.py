"""Tests of `mpp.admin`."""
