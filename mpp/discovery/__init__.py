"""
The discovery of backends: a module or package for each kind of source. Knows no probe and no selection. Read ``kinds`` first,
then ``merged``.
"""
