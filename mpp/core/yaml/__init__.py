"""
A reader of untrusted YAML that reports errors with their lines. Pure. Begin with ``mapping``.
"""
