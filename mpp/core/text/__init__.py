"""
Parsers and formatters of texts: durations, sizes, names, YAML. Pure; imports no other package of mpp. Begin with ``values``.
"""
