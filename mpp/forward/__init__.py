"""Carries client requests to backends and their answers back, with retries and hedges; see ``exchange``."""
