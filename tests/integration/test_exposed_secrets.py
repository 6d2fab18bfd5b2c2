"""Secrets that others on the machine can see: mpp says so at its start, once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, Simulated, wait_until
from tests.integration.test_reload import Configured
from tests.integration.test_web_config import hashed

EXPOSED = "every user of this machine can read files with secrets: "


class ExposedTests(SynchronousTestCase):
    """mpp in front of a simulated server."""

    def setUp(self) -> None:
        """Make a folder that others can come to, unless the folder for temporary files is not everybody's."""
        folder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.folder.chmod(0o755)
        self.simulated = Simulated("--version", "3.5.0").start_for(self)

    def warnings(self, mpp: Mpp, text: str) -> list[str]:
        """Start mpp; return the warnings that have a text, until the first requests could be served."""
        mpp.start_for(self)
        return [line for line in mpp.log().splitlines() if text in line and "level=warn" in line]

    def test_exposed_files_are_named_in_one_warning(self) -> None:
        """Configuration and web configuration at 0644 are named in one warning, with workers as well; at 0640 in none."""
        web = self.folder / "web.yml"
        web.write_text(f"basic_auth_users: {{alice: {hashed('s3cret')}}}\n")
        for mode, workers in ((0o644, 1), (0o644, 2), (0o640, 1)):
            mpp = Configured(endpoint=[self.simulated.url], web_config=str(web), workers=workers)
            mpp.folder.chmod(0o755)
            mpp.write(
                "http_config: {http_headers: {X-Key: {secrets: [s3cret]}}}\n",
                endpoint=[self.simulated.url],
                web_config=str(web),
                workers=workers,
            )
            for path in (web, mpp.config):
                path.chmod(mode)
            with self.subTest(mode=mode, workers=workers):
                found = self.warnings(mpp, EXPOSED)
                expected = [f"{EXPOSED}{mpp.config}, {web}; expected mode 0640 or less"] if mode == 0o644 else []
                self.assertEqual([line.partition('msg="')[2].partition('"')[0] for line in found], expected)
                self.assertNotIn("s3cret", mpp.log())

    def test_command_line(self) -> None:
        """A password in --http-sd is warned of, and not repeated; from a file of its own it is sent as well."""
        url = f"http://me:s3cret@{self.simulated.address}/sd"
        sd = self.folder / "sd"
        sd.write_text(url)
        sd.chmod(0o600)
        for value, count in ((url, 1), (f"@{sd}", 0)):
            mpp = Mpp([self.simulated.url], "--http-sd", value)
            with self.subTest(value=value):
                found = self.warnings(mpp, "a secret on the command line can be read by every user")
                self.assertEqual(len(found), count)
                shown = Path(f"/proc/{mpp.pid}/cmdline").read_bytes()
                self.assertEqual(b"s3cret" in shown, bool(count))
                self.assertEqual(sum("as @ and the path of a file" in line for line in found), count)
                self.assertNotIn("s3cret", mpp.log())
                wait_until(lambda: self.simulated.count("/sd"), "the list is asked for")
                self.simulated.stop()
                self.simulated.start()
        self.assertEqual(os.stat(sd).st_mode & 0o777, 0o600)
