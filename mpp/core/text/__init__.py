"""
Parsers and formatters of texts: durations, sizes, names, secrets. Pure; imports no other package of mpp. Begin with ``values``.
"""
