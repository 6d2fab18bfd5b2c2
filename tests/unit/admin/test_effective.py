"""The configuration in force: the value of each option, its origin, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.effective_config import effective
from mpp.admin.status.effective import as_json, as_page
from mpp.admin.status.identity import Identity
from mpp.config.configured import ConfiguredValue, EffectiveConfig
from mpp.config.loader import ConfigSources
from mpp.config.options import OPTIONS
from mpp.core.settings import Settings
from mpp.core.text.secrets import mask_unless_file, mask_url
from mpp.core.text.written import written_duration, written_share, written_size
from tests.status_support import FOREIGN

FILE = """\
endpoint: [a:1, b:1]
selection-interval: 15s
retries: 5
file-sd: [targets/*.json]
http_config:
  basic_auth:
    username: reader
    password_file: reader.password
  http_headers:
    X-Scope-OrgID:
      values: [one]
      secrets: [hunter2]
      files: [scope]
backends:
  - url: https://a:1
    probe-params: namespace=one
    http_config:
      tls_config:
        insecure_skip_verify: true
"""


class EffectiveTests(SynchronousTestCase):
    """What is told of each value."""

    def config(self, *argv: str, file: str = "", **environ: str) -> dict[str, ConfiguredValue]:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        if file:
            (self.folder / "mpp.yaml").write_text(file)
            argv = ("--config", "mpp.yaml", *argv)
        reading = ConfigSources(argv, environ, str(self.folder)).read().checked()
        self.shown = effective(reading, 1_700_000_000.0)
        return {each.name: each for each in self.shown.values}

    def test_each_value_names_its_origin(self) -> None:
        """Each value says where it was written: the line of the file, the variable, the option, or nowhere."""
        values = self.config("-V", "--retries=3", file=FILE, MPP_LOG_FORMAT="json")
        for name, value, text, origin, place in [
            ("selection-interval", 15.0, "15s", "file", "mpp.yaml:2"),
            ("endpoint", ["a:1", "b:1"], "a:1 b:1", "file", "mpp.yaml:1"),
            ("retries", 3, "3", "command line", "--retries"),
            ("verbose", True, "true", "command line", "-V"),
            ("log-format", "json", "json", "environment", "MPP_LOG_FORMAT"),
            ("request-timeout", 120.0, "2m", "default", ""),
            ("max-request-body", 10 * 1024 * 1024, "10MiB", "default", ""),
            ("retry-budget", 0.2, "20%", "default", ""),
            ("trusted-proxies", None, "", "default", ""),
            ("file-sd", [f"{self.folder}/targets/*.json"], f"{self.folder}/targets/*.json", "file", "mpp.yaml:4"),
            ("http_config: basic_auth: username", "reader", "reader", "file", "mpp.yaml:7"),
            (
                "http_config: basic_auth: password_file",
                f"{self.folder}/reader.password",
                f"{self.folder}/reader.password",
                "file",
                "mpp.yaml:8",
            ),
            ("http_config: http_headers: X-Scope-OrgID: values", ["one"], "one", "file", "mpp.yaml:11"),
            (
                "http_config: http_headers: X-Scope-OrgID: files",
                [f"{self.folder}/scope"],
                f"{self.folder}/scope",
                "file",
                "mpp.yaml:13",
            ),
            ("backends 1: url", "https://a:1", "https://a:1", "file", "mpp.yaml:15"),
            ("backends 1: probe-params", "namespace=one", "namespace=one", "file", "mpp.yaml:16"),
            ("backends 1: http_config: tls_config: insecure_skip_verify", "true", "true", "file", "mpp.yaml:19"),
        ]:
            self.assertEqual(values[name], ConfiguredValue(name, value, text, origin, place))

    def test_every_option(self) -> None:
        """No option is missing, and the default of each is told."""
        values = self.config("--endpoint", "a:1")
        self.assertEqual(set(values), {option.flag.removeprefix("--") for option in OPTIONS if option.field})
        self.assertEqual({each.name for each in values.values() if each.origin != "default"}, {"endpoint"})

    def test_derived_value_is_not_called_a_default(self) -> None:
        """A value that nobody gave, and that is not the default, is not called one."""
        values = self.config("--endpoint", "a:1", "--listen", "tcp:9091")
        self.assertEqual(values["port"], ConfiguredValue("port", None, "", "derived"))

    def test_no_secret_is_shown(self) -> None:
        """No secret is shown, wherever it was given; what is none is."""
        secret = "hunter2"
        values = self.config(
            f"--http-sd=https://me:{secret}@sd.example/targets?token={secret}&site=x",
            f"--marathon-auth-endpoint=https://me:{secret}@dcos.example/login",
            file=FILE,
            MPP_MARATHON_URL=f"http://me:{secret}@m1.example,http://m2.example",
            MPP_MARATHON_APPS="prom",
            MPP_MARATHON_PRINCIPAL_SECRET='{"uid": "x", "private_key": "hunter2"}',
        )
        for shown in (as_json(self.shown), as_page(self.shown, Identity()), repr(self.shown).encode()):
            self.assertNotIn(secret.encode(), shown)
        self.assertEqual(values["marathon-principal-secret"].value, "<secret>")
        self.assertEqual(values["http-sd"].value, ["https://<secret>@sd.example/targets?token=<secret>&site=<secret>"])
        self.assertEqual(values["marathon-url"].value, ["http://<secret>@m1.example", "http://m2.example"])
        self.assertEqual(values["http_config: http_headers: X-Scope-OrgID: secrets"].value, ["<secret>"])

    def test_every_secret_is_masked(self) -> None:
        """An option that takes a secret has a mask that hides one."""
        for option in OPTIONS:
            for text in ("https://me:hunter2@host/x", '{"secret": "hunter2"}'):
                if option.secret(text):
                    self.assertNotIn("hunter2", option.mask(text), option.flag)

    def test_shown_defaults_could_be_written_into_the_file(self) -> None:
        """What is shown as a default could be written into the file, and would mean the same."""
        for option in OPTIONS:
            value = option.field and option.of(Settings())
            if value and not isinstance(value, tuple):
                self.assertEqual(option.parse(option.written(value)), value, option.flag)


class WrittenTests(SynchronousTestCase):
    """How values are written."""

    def test_numbers_have_the_units_of_the_configuration(self) -> None:
        """Durations, sizes and shares have the units that the configuration takes."""
        for value, text in (
            (0.0, "0"),
            (0.25, "250ms"),
            (90.0, "1m30s"),
            (1.5, "1s500ms"),
            (15 * 86400.0, "15d"),
            (93784.0, "1d2h3m4s"),
        ):
            self.assertEqual(written_duration(value), text)
        for size, text in ((0, "0"), (1000, "1000"), (1024, "1KiB"), (3 * 2**20, "3MiB"), (2**30, "1GiB")):
            self.assertEqual(written_size(size), text)
        self.assertEqual([written_share(share) for share in (0.0, 0.2, 0.125, 1.0)], ["0%", "20%", "12.5%", "100%"])

    def test_paths_of_secret_files_are_shown_and_secrets_masked(self) -> None:
        """Paths of files with secrets are shown, secrets are not."""
        self.assertEqual([mask_unless_file(text) for text in ("", "@/a", "{}")], ["", "@/a", "<secret>"])
        for text, masked in (
            ("http://host/path", "http://host/path"),
            ("@/path", "@/path"),
            ("http://u:p@host/path", "http://<secret>@host/path"),
            ("http://u:p?q@host/x?a=b", "http://<secret>@host/x?a=<secret>"),
        ):
            self.assertEqual(mask_url(text), masked)


class PageTests(SynchronousTestCase):
    """How it is shown."""

    def test_page_separates_configured_from_default_values(self) -> None:
        """What was configured is apart from the defaults, and nothing foreign becomes markup."""
        config = EffectiveConfig(
            (ConfiguredValue("port", 9090, "9090", "default"), ConfiguredValue("dns", FOREIGN, FOREIGN, "file", f"{FOREIGN}:3")),
            0.0,
        )
        page = as_page(config, Identity()).decode()
        self.assertLess(page.index(">dns<"), page.index(">port<"))
        self.assertIn("1 value configured, 1 by default", page)
        self.assertNotIn("<script>alert", page)

    def test_json_has_typed_values(self) -> None:
        """Programs get values, not only texts; before anything was read there are none."""
        config = EffectiveConfig((ConfiguredValue("retries", 2, "2", "default"),), 5.0)
        self.assertEqual(
            json.loads(as_json(config))["values"],
            [{"name": "retries", "value": 2, "written": "2", "origin": "default", "place": None}],
        )
        self.assertEqual((json.loads(as_json(EffectiveConfig()))["values"], json.loads(as_json(config))["read_at"]), ([], 5.0))
