"""Tests of `mpp.promql`."""
