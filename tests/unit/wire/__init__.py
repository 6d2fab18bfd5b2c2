"""Tests of `mpp.wire`."""
