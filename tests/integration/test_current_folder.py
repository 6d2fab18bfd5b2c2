"""What lies in the folder that mpp is started in is not imported by the processes that mpp starts."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, wait_until

PLANTED = """
import os
with open({log!r}, "a") as log:
    log.write(f"{name} {{os.getpid()}}\\n")
"""
"""A module that notes which process imports it."""


class CurrentFolderTests(SynchronousTestCase):
    """mpp with two workers, in a folder where somebody has left modules."""

    def setUp(self) -> None:
        """Start a server, and leave the modules."""
        self.server = Simulated("--version", "3.5.0").start_for(self)
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.log.touch()

    def plant(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.py").write_text(PLANTED.format(log=str(self.log), name=name))

    def imported(self) -> dict[int, list[str]]:
        """Return the processes that have imported something, and what."""
        found: dict[int, list[str]] = {}
        for line in self.log.read_text().splitlines():
            name, pid = line.split()
            found.setdefault(int(pid), []).append(name)
        return found

    def run_workers(self, **environ: str) -> Mpp:
        """Start mpp in that folder, and wait until both workers serve."""
        mpp = Mpp([self.server.url], "--workers", "2")
        self.addCleanup(mpp.close)
        mpp.current, mpp.environ = self.folder, environ
        mpp.start()
        wait_until(lambda: mpp.log().count("mpp serves") >= 3, "the workers serve")
        return mpp

    def test_no_module_is_imported_from_the_current_folder(self) -> None:
        """Neither a module that mpp uses, nor one that Python imports at each start, is taken from the current folder."""
        self.plant("attrs", "attr", "twisted", "json", "mpp", "sitecustomize", "usercustomize")
        mpp = self.run_workers()
        self.assertEqual((self.imported(), mpp.log().count("another one starts")), ({}, 0))

    def test_python_path(self) -> None:
        """Nor if PYTHONPATH names the current folder, in whatever way: mpp itself then has what it was told to have."""
        self.plant("sitecustomize")
        for path in (os.pathsep, f".{os.pathsep}{self.folder.parent}"):
            self.log.write_text("")
            mpp = self.run_workers(PYTHONPATH=path)
            self.assertLessEqual(set(self.imported()), {mpp.pid}, path)
            mpp.close()
