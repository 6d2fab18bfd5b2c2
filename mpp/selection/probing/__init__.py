"""
The probes of servers: `prober` makes one observation, `requests` sends its requests, `state` reads slowly changing data.

`mpp.selection.probing.interpret` decides what responses mean, `mpp.selection.strategies` which servers are selected.
"""
