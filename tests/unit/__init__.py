"""
Tests that need neither network nor processes. What is timed here is nothing: hypothesis must not fail a test because a machine is
slow today.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("mpp", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mpp")
