"""
Which backends are taken out of service, and when they return. Pure; knows no clock and no probe. Begin with ``ejection``.
"""
