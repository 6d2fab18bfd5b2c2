"""
The kinds of discovery sources, one module for each: its options, its settings, and how its locator is built. Free of Twisted,
which locators import when they are built. Read ``source_kind`` first, then ``all_kinds``.
"""
