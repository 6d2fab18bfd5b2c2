"""
The heads of HTTP messages as mpp writes them: header fields, the affinity cookie, the token against loops. Pure. Begin with
``heads``.
"""
