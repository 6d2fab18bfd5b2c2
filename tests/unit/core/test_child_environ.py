"""What the processes that mpp starts have in their environment."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.text.child_environ import isolated, without_own


class IsolatedTests(SynchronousTestCase):
    """Processes in Python."""

    def test_nothing_from_the_current_folder(self) -> None:
        """Entries of PYTHONPATH that mean the current folder, or lie below it, are left out; the others stay in order."""
        for path, left in [
            ("", None),
            (":", None),
            (".", None),
            ("lib:../lib:./", None),
            ("/a::/b:.:c:/d/", "/a:/b:/d/"),
            ("/a", "/a"),
        ]:
            found = isolated({"PYTHONPATH": path, "HOME": "/h"})
            self.assertEqual(found, {"HOME": "/h", "PYTHONSAFEPATH": "1", **({"PYTHONPATH": left} if left else {})}, path)

    def test_switched_off(self) -> None:
        """An empty PYTHONSAFEPATH, which means nothing to Python, does not stay."""
        given = {"PYTHONSAFEPATH": ""}
        self.assertEqual((isolated(given), given), ({"PYTHONSAFEPATH": "1"}, {"PYTHONSAFEPATH": ""}))


class WithoutOwnTests(SynchronousTestCase):
    """Programs of others."""

    def test_own_variables_are_removed_and_others_kept(self) -> None:
        """None of mpp's variables is left, and all others are."""
        given = {"MPP_HTTP_SD": "http://u:s3cr3t@sd", "MPP_": "x", "MPPX": "1", "PATH": "/bin", "my_MPP_": "2"}
        self.assertEqual(without_own(given), {"MPPX": "1", "PATH": "/bin", "my_MPP_": "2"})
