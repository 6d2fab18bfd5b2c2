"""
Where backends come from: a module or room for each kind of source. Knows no probe and no selection. Begin with ``kinds``, then
``merged``.
"""
