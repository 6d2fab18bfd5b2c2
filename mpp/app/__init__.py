"""
The program that is built from the other packages: start, reload and shutdown.

No decision about a request is made here. Read ``program`` first.
"""
