"""Tests that need neither network nor processes."""
