"""
The discovery of backends: a module or package for each kind of source. Knows no probe and no selection. Read
``kinds.source_kind`` first, then ``merged``.
"""
