"""Files with secrets that everybody can read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.http_config import ConfiguredHeader, HTTPConfig, HTTPConfigs
from mpp.core.settings import Settings
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.security.secret_files import is_readable_by_all, secret_files, warning_of
from mpp.security.web_config.values import PEMSource, TLSServer, WebConfig
from tests.configured import configured

USERS = WebConfig(users={b"a": b"hash"})
INLINE = WebConfig(TLSServer(PEMSource("cert", text="C"), PEMSource("key", text="K")))
APART = WebConfig(TLSServer(PEMSource("cert_file", "c.pem"), PEMSource("key_file", "k.pem")))


def http(config: HTTPConfig) -> HTTPConfigs:
    """Return what counts for one kind of backends only."""
    return HTTPConfigs(rules=(("*", config),))


class SecretFilesTests(SynchronousTestCase):
    """Where secrets are."""

    def test_every_secret_file_is_named(self) -> None:
        """Every file of the configuration that holds a secret is named, and no other one."""
        header = ConfiguredHeader("X-Key", ("value",), ("s3cret",))
        for settings, web_config, paths in (
            (configured(config="mpp.yaml", endpoints_file="e", file_sd=("f",)), None, []),
            (Settings(config="mpp.yaml", http=http(HTTPConfig(headers=(header,)))), None, ["mpp.yaml"]),
            (Settings(config="mpp.yaml", http=http(HTTPConfig(headers=(ConfiguredHeader("X", ("value",)),)))), None, []),
            (Settings(http=http(HTTPConfig(headers=(ConfiguredHeader("X", files=("a", "b")),)))), None, ["a", "b"]),
            (Settings(http=http(HTTPConfig(username_file="u", password_file="p"))), None, ["p"]),
            (Settings(http=http(HTTPConfig(credentials_file="t", ca_file="ca"))), None, ["t"]),
            (Settings(http=http(HTTPConfig(cert_file="c", key_file="k"))), None, ["k"]),
            (Settings(web_config="web.yml"), WebConfig(), []),
            (Settings(web_config="web.yml"), USERS, ["web.yml"]),
            (Settings(web_config="web.yml"), INLINE, ["web.yml"]),
            (Settings(web_config="web.yml"), APART, ["k.pem"]),
            (configured(marathon=MarathonSettings(credentials_file="c", principal_secret="@s")), None, ["c", "s"]),
            (configured(marathon=MarathonSettings(principal_secret="{}")), None, []),
            (configured(http_sd=("http://u:p@a/", "@sd")), None, ["sd"]),
            (configured(kube=KubeSettings(kubeconfig="a:b")), None, []),
            (configured(kube=KubeSettings(kubeconfig="a:b", service_name="s")), None, ["a", "b"]),
            (Settings(listen=("tcp:1", "ssl:1:privateKey=k.pem:certKey=c.pem")), None, ["k.pem"]),
            (Settings(admin_listen=("ssl:1:k.pem:c.pem", r"ssl:2:privateKey=a\:b")), None, ["k.pem", "a:b"]),
            (Settings(listen=("ssl:1",)), None, ["server.pem"]),
        ):
            with self.subTest(paths=paths):
                self.assertEqual(list(secret_files(settings, web_config)), paths)


class ReadableTests(SynchronousTestCase):
    """Who can read a file."""

    def setUp(self) -> None:
        """Make a folder that everybody can come to."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.folder.chmod(0o755)
        if not all(each.stat().st_mode & 0o001 for each in self.folder.parents):
            raise SkipTest(f"others cannot come to {self.folder}")
        (self.folder / "inner").mkdir(0o755)
        self.file = self.folder / "inner" / "secret"
        self.file.write_text("s3cret")

    def test_readability_depends_on_file_and_folder_modes(self) -> None:
        """It depends on the mode of the file, and on those of all folders above it, through symbolic links."""
        link = self.folder / "link"
        link.symlink_to(self.file)
        for mode, above, readable in ((0o644, 0o755, True), (0o640, 0o755, False), (0o604, 0o711, True), (0o644, 0o750, False)):
            self.file.chmod(mode)
            self.file.parent.chmod(above)
            with self.subTest(mode=mode, above=above):
                self.assertEqual((is_readable_by_all(str(self.file)), is_readable_by_all(str(link))), (readable, readable))

    def test_missing_file_is_not_readable_by_others(self) -> None:
        """What is not there, and what is no path, nobody can read."""
        for path in (str(self.folder / "gone"), "a\0b", str(self.file / "below")):
            self.assertFalse(is_readable_by_all(path))

    def test_one_warning(self) -> None:
        """All files are named in one line, each once."""
        other = self.folder / "web.yml"
        other.write_text("x")
        for each in (self.file, other):
            each.chmod(0o644)
        path = str(self.file)
        settings = configured(http_sd=(f"@{path}", f"@{path}"), web_config=str(other))
        self.assertEqual(
            warning_of(settings, USERS),
            f"every user of this machine can read files with secrets: {other}, {path}; expected mode 0640 or less",
        )
        for each in (self.file, other):
            os.chmod(each, 0o640)
        self.assertEqual(warning_of(settings, USERS), "")
