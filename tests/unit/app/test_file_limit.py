"""How many files may be open."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from mpp.app.file_limit import MOST_CONNECTIONS, OWN_DESCRIPTORS, raise_file_limit, room_for_connections


class FileLimitTests(SynchronousTestCase):
    """The number of open files."""

    def test_limit_is_raised_to_the_hard_limit(self) -> None:
        """The limit becomes what the system grants at most."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
        self.assertEqual(raise_file_limit(), before[1])
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (before[1], before[1]))
        self.assertEqual(raise_file_limit(), before[1])

    def test_each_client_may_take_two_files(self) -> None:
        """Of the files allowed, each client may take two, one of them for a backend; some are left for mpp itself."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        for files, room in ((1024, 480), (OWN_DESCRIPTORS, 1), (min(before[1], 4 * MOST_CONNECTIONS), None)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
            expected = min(MOST_CONNECTIONS, (files - OWN_DESCRIPTORS) // 2) if room is None else room
            self.assertEqual(room_for_connections(), expected)
