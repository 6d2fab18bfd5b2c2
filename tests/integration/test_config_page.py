"""The page of the configuration in force, as processes serve it."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.processes import Mpp, fetch, free_port
from tests.integration.workers import one_process

SECRET = "hunter2"


class Configured(Mpp):
    """mpp with a configuration file, two workers and an own listener for its pages."""

    def __init__(self, admin: int) -> None:
        super().__init__(())
        self.config = self.folder / "mpp.yaml"
        self.admin = admin
        self.write(retries=1)

    def write(self, **keys: Any) -> None:
        """Write the file anew."""
        keys = {"endpoint": ["127.0.0.1:1"], "workers": 2, "port": self.port, "enable-lifecycle": True, **keys}
        headers = "http_config:\n  http_headers:\n    X-Key:\n      secrets: [" + SECRET + "]\n"
        self.config.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in keys.items()) + headers)

    def command(self) -> list[str]:
        """Return the command line."""
        command = super().command()
        admin = f"tcp:{self.admin}:interface=127.0.0.1"
        return [*command[: command.index("--endpoints-file")], "--config", str(self.config), "--admin-listen", admin]

    def page(self, query: str = "") -> bytes:
        """Return the page as the admin listener serves it."""
        status, _, body = fetch(self.admin, f"/mpp/config{query}")
        assert status == 200, (status, body)
        return body

    def values(self) -> dict[str, Any]:
        """Return what the JSON says, by name."""
        return {each["name"]: each for each in json.loads(self.page("?format=json"))["values"]}


@one_process("the environment would win over the number of workers in the file")
class ConfigPageTests(SynchronousTestCase):
    """What the page says, who may see it, and that it follows reloads."""

    def test_page_shows_values_and_origins_without_secrets(self) -> None:
        """Each worker shows what is in force and its origin, on the admin listener only, without secrets, after reloads too."""
        mpp = Configured(free_port()).start_for(self)
        self.assertEqual(fetch(mpp.port, "/mpp/config")[0], 404)
        for _ in range(4):
            values = mpp.values()
            self.assertEqual((values["retries"]["value"], values["retries"]["place"]), (1, f"{mpp.config}:5"))
            self.assertEqual((values["admin-listen"]["origin"], values["stall-timeout"]["origin"]), ("command line", "default"))
            # What is configured, not a worker's share of it.
            self.assertEqual((values["max-concurrency"]["value"], values["endpoint"]["value"]), (256, ["127.0.0.1:1"]))
            self.assertNotIn(SECRET.encode(), mpp.page() + mpp.page("?format=json"))
        mpp.write(retries=7)
        self.assertEqual(fetch(mpp.admin, "/mpp/reload", method="POST")[0], 200)
        self.assertEqual(mpp.values()["retries"]["value"], 7)
        mpp.write(retries=8, workers=3)
        self.assertEqual(fetch(mpp.admin, "/mpp/reload", method="POST")[0], 500)
        self.assertEqual(mpp.values()["retries"]["value"], 7)
