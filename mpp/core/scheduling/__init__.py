"""
Periodic calls, and work in small steps: the only part of core that uses a reactor. Begin with ``pacing``.
"""
