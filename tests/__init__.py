"""Tests. Nothing is imported here, because the simulated servers are processes of this package and must start soon."""
