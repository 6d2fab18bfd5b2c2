"""The range cache of a process, over the reloads of its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.client_side import ParentLink, Role
from mpp.app.program import Program
from mpp.app.workers.parent import parent_of_workers
from mpp.app.workers.remote_selections import RemoteSelections
from mpp.cache.recent import AssembledBody
from mpp.cache.store import Flushed
from mpp.core.http_config import HTTPConfig, HTTPConfigs
from tests.configured import configured

MIB = 2**20


class Key(NamedTuple):
    """A key."""

    question: str

    @property
    def size(self) -> int:
        """Some size."""
        return 100


@frozen
class Cached:
    """An entry."""

    size: int = 1000


@define
class Broken:
    """An entry whose size can be determined once."""

    left: int = 1
    spare: int = 0

    @property
    def size(self) -> int:
        """A size, or an error."""
        self.left -= 1
        return 1000 // (self.left + 1)


class CacheOfProgramTests(SynchronousTestCase):
    """A program with a cache of 8 MiB."""

    def setUp(self) -> None:
        """Build the program."""
        self.token = Path(self.mktemp()).absolute()
        self.token.write_text("one")
        http = HTTPConfigs(HTTPConfig(credentials_file=str(self.token)))
        self.settings = configured(endpoints=("prom:9090",), cache_memory=8 * MIB, http=http)
        self.reactor = MemoryReactorClock()
        self.program = Program(self.settings, self.reactor)
        self.put("a", "b")

    @property
    def cache(self) -> Any:
        """The cache that requests use."""
        return self.program.backends.forwarder.context.cache

    def put(self, *names: str) -> None:
        """Keep entries."""
        for name in names:
            self.cache.put(Key(name), Cached())

    def reload(self, **changes: Any) -> None:
        """Activate changed settings."""
        self.program.apply(self.program.prepare(evolve(self.settings, **changes)))

    def value(self, name: str) -> float | None:
        """Return the value of a gauge."""
        return self.program.metrics.registry.get_sample_value(name)

    def test_reload_keeps_entries(self) -> None:
        """A reload keeps the entries; changed limits hold at once."""
        self.reload(retries=7)
        self.assertEqual(self.cache.state.entries, 2)
        self.reload(cache_memory=16 * MIB, cache_max_age=10.0)
        self.assertEqual((self.cache.state.entries, self.cache.state.limit_bytes), (2, 16 * MIB))
        self.assertLessEqual(self.cache.lifetime(), 12)

    def test_broken_cache_stops_no_reload(self) -> None:
        """If the cache cannot get new limits, mpp reports a bug, and has an empty cache and all other new settings."""
        self.cache.put(Key("broken"), Broken())
        self.cache.recent.put_body((self, 1, 1, True, None), AssembledBody((b"x",), 1000))
        self.reload(cache_memory=MIB, retries=7)
        self.assertEqual(self.flushLoggedErrors(ZeroDivisionError) != [], True)
        context = self.program.backends.forwarder.context
        self.assertEqual((self.program.settings.retries, context.settings.retries), (7, 7))
        self.assertEqual((self.cache.state.used_bytes, self.cache.state.limit_bytes), (0, MIB))
        self.put("a")
        self.assertEqual(self.cache.state.entries, 1)

    def test_switched_off_and_on(self) -> None:
        """Without memory there is no cache, and a later one is empty."""
        self.reload(cache_memory=0)
        self.assertIsNone(self.cache)
        self.assertEqual((self.value("mpp_cache_entries"), self.value("mpp_cache_limit_bytes")), (0, 0))
        self.reload()
        self.assertEqual((self.cache.state.entries, self.cache.state.limit_bytes), (0, 8 * MIB))
        self.put("a")
        self.assertEqual(self.cache.state.entries, 1)

    def test_switched_on(self) -> None:
        """A cache can be switched on by a reload."""
        self.program = Program(evolve(self.settings, cache_memory=0), self.reactor)
        self.assertIsNone(self.cache)
        self.reload()
        self.assertEqual(self.cache.state.limit_bytes, 8 * MIB)

    def test_other_credentials(self) -> None:
        """Other credentials for the servers may get other responses, so nothing stays cached over their change."""
        self.token.write_text("two!")
        self.program.backends.credentials.refresh()
        self.assertEqual(self.cache.state.entries, 0)
        self.put("a")
        self.reload(http=HTTPConfigs())
        self.assertEqual(self.cache.state.entries, 0)

    def test_other_fields_that_count(self) -> None:
        """Requests that shared an entry may not be alike any longer, so nothing stays cached over the change."""
        for changed in ({"cache_neutral": ("x-team",)}, {"cache_vary": ("user-agent",)}):
            self.put("a")
            self.reload(**changed)
            self.assertEqual(self.cache.state.entries, 0, changed)

    def test_flush(self) -> None:
        """A flush returns how many entries it has removed."""
        self.assertEqual(self.successResultOf(self.program.client_side.flush_cache()), Flushed(2))
        self.assertEqual(self.successResultOf(self.program.client_side.flush_cache()), Flushed(0))

    def test_gauges(self) -> None:
        """The metrics show how full the cache is, and its freshness."""
        state = self.cache.state
        self.assertEqual(self.value("mpp_cache_entries"), 2)
        self.assertEqual((self.value("mpp_cache_bytes"), self.value("mpp_cache_limit_bytes")), (state.used_bytes, 8 * MIB))
        self.assertEqual(self.value("mpp_cache_freshness_seconds"), 60)

    def test_workers(self) -> None:
        """A worker has a cache, its parent has none."""
        remote = RemoteSelections(self.reactor.seconds)
        link = ParentLink(remote.bound_to, remote.addresses, lambda *how: Deferred(), Deferred, None)
        self.program = Program(self.settings, self.reactor, Role(parent=link))
        self.assertEqual(self.cache.state.limit_bytes, 8 * MIB)
        parent = parent_of_workers(Role(), self.reactor)
        self.program = Program(evolve(self.settings, workers=2), self.reactor, parent)
        self.assertIsNone(self.cache)
