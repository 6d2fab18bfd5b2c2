"""Puts all rooms together: the program, its life, and its reload. Decides nothing about requests. Begin with ``program``."""
