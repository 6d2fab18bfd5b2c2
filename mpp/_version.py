"""The version, and nothing else, so that setup.py can read it without importing anything."""

__version__ = "0.3.0"
