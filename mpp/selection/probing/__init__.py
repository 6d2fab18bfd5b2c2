"""
Observes servers: `prober` makes one observation, `requests` sends what it asks, `state` reads what changes slowly.

What responses mean is decided in `mpp.selection.probing.interpret`, who is selected in `mpp.selection.strategies`.
"""
