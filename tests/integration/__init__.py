"""
Tests against processes: real Prometheus servers, simulated ones, and mpp from the installed wheel.

``MPP_TEST_WORKERS=2`` starts every mpp with two workers, unless its command line says otherwise or the test is about one
process (`tests.integration.workers.one_process`).
"""

import os

if os.environ.get("MPP_TEST_WORKERS"):
    os.environ["MPP_WORKERS"] = os.environ["MPP_TEST_WORKERS"]
