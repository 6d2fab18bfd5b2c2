"""
Collects what users of mpp can hold on to: names and values that dashboards, scripts, configurations and other programs contain.

Each module here has a function ``lines()``, which returns one section of ``tests/contract.txt`` as sorted lines. All of it comes
from the code, by running it or, where values stand as literals in calls, by reading its source; nothing is listed by hand. Names
of modules and classes are not part of the contract.

``python -m tests.contract`` writes the file again. A change of it is a change for users, and belongs into a news fragment.
"""
