"""The wheel and the source archive, proven outside of the checkout."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mpp._version import __version__

ROOT = Path(__file__).parents[2]

LEFT_BEHIND = (
    *(".git", ".venv", ".cache", ".tox", ".mypy_cache", ".ruff_cache", ".hypothesis", "build", "dist", "_build", "*.egg-info"),
    *("_trial_temp*", "__pycache__", "dropin.cache", ".coverage*"),
)

PATIENCE = 600
"""Seconds for one step: requirements may have to be downloaded."""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)


@functools.cache
def built() -> Path:
    """
    Build both archives, once, from a copy of the checkout: nothing is left in it, and nothing that lies about gets in.

    :return: the folder above ``dist``, gone when this process ends.
    """
    folder = Path(tempfile.mkdtemp(prefix="mpp-packaging-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
    ended = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", copy, cwd=folder)
    if "No module named build" in ended.stderr:
        raise SkipTest("build is not installed; script/test installs it")
    if ended.returncode:
        raise AssertionError(ended.stdout + ended.stderr)
    return folder


class PackagingTests(SynchronousTestCase):
    """What ``pip install`` gives."""

    def setUp(self) -> None:
        """Build, for the first of these tests."""
        self.folder = built()

    def archives(self) -> Sequence[Path]:
        """Return the files that were built."""
        return sorted((self.folder / "dist").iterdir())

    def wheel(self) -> Path:
        """Return the wheel."""
        return next(path for path in self.archives() if path.suffix == ".whl")

    def test_one_wheel_and_one_source_archive(self) -> None:
        """One wheel for every platform, and one source archive."""
        self.assertEqual(
            [path.name for path in self.archives()], [f"mpp-{__version__}-py3-none-any.whl", f"mpp-{__version__}.tar.gz"]
        )

    def test_package_index_accepts_both_archives(self) -> None:
        """The package index would accept both without a warning."""
        ended = run(sys.executable, "-m", "twine", "check", "--strict", *self.archives(), cwd=self.folder)
        if "No module named twine" in ended.stderr:
            raise SkipTest("twine is not installed; script/test installs it")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_wheel_has_all_modules_and_no_tests(self) -> None:
        """The wheel has every module, the plugin and the type marker; nothing of Twisted's own, no tests."""
        names = set(ZipFile(self.wheel()).namelist())
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mpp").rglob("*.py")}
        self.assertEqual({name for name in names if name.endswith(".py")}, {*modules, "twisted/plugins/mpp_plugin.py"})
        beside = {name for name in names if not name.endswith(".py") and ".dist-info/" not in name}
        self.assertEqual(beside, {"mpp/py.typed"})

    def test_source_archive_has_all_to_build_and_test(self) -> None:
        """The source archive has what is needed to build, test and run from it."""
        with tarfile.open(next(path for path in self.archives() if path.suffix == ".gz")) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        for path in (
            "setup.py",
            "pyproject.toml",
            "tox.ini",
            "LICENSE",
            "NEWS.rst",
            "script/test",
            "tests/unit/config/test_config.py",
        ):
            self.assertIn(path, names)
        for path in ("Dockerfile", ".dockerignore", "systemd/mpp.service", "contrib/grafana/mpp.json", "script/build-man"):
            self.assertIn(path, names)
        self.assertIn("docs/conf.py", names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)

    def test_installed_wheel_has_both_commands(self) -> None:
        """In an empty environment, both commands are there after ``pip install``, and Twisted is whole."""
        home = self.folder / "venv"
        venv.create(home, with_pip=True)
        bin = home / "bin"
        pip = run(bin / "python", "-m", "pip", "install", "-qq", self.wheel(), cwd=self.folder)
        if "No matching distribution" in pip.stderr or "connection" in pip.stderr.lower():
            raise SkipTest(f"the requirements cannot be installed here: {pip.stderr.strip().splitlines()[-1]}")
        self.assertEqual(pip.returncode, 0, pip.stderr)
        self.assertEqual(run(bin / "mpp", "--version", cwd=self.folder).stdout, f"mpp version {__version__}\n")
        self.assertRegex(run(bin / "twistd", "--help", cwd=self.folder).stdout, r"(?m)^ +mpp +A proxy")
        refused = run(bin / "twistd", "--nodaemon", "--pidfile=", "mpp", "--port", "abc", cwd=self.folder)
        self.assertEqual(refused.stderr, "mpp: --port: 'abc' is not a port number (1 to 65535)\n")
        gone = run(bin / "python", "-m", "pip", "uninstall", "-qq", "--yes", "mpp", cwd=self.folder)
        self.assertEqual(gone.returncode, 0, gone.stderr)
        listed = run(bin / "twistd", "--help", cwd=self.folder)
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertNotRegex(listed.stdout, r"(?m)^ +mpp ")
