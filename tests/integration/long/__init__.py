"""
Runs of a minute and more, against real servers, started by hand: ``python -m tests.integration.long.<name>`` from the checkout.

Each prints a table and ends with status 1 if a promise was broken.
"""
