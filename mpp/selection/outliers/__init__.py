"""
The decisions when backends are ejected from service, and when they return. Pure; knows neither clock nor probes.
Read ``ejection`` first.
"""
