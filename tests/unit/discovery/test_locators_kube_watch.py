"""Changes in Kubernetes are noticed at once, whatever happens to the stream that tells of them."""

from __future__ import annotations

import json
import random

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import DiscoveryError
from mpp.discovery.kubernetes.cluster_access import ClusterAccess
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.discovery.kubernetes.stream import LineStream
from mpp.discovery.kubernetes.watch import VersionExpired, pause, read_event
from tests.fake_kube import InMemory, endpoint, endpoint_slice, endpoints_object, pod
from tests.logged import logged

PODS = KubeSettings(pod_label_selector="app=prometheus")
SERVICE = KubeSettings(service_name="prometheus")


class _Watched(SynchronousTestCase):
    """Base: a locator that watches."""

    kube = PODS

    def setUp(self) -> None:
        self.world = InMemory(self.kube)
        self.fake = self.world.fake
        self.logged = logged(self, lambda event: str(event.get("problem", "")))
        self.fake.put("pods", pod("prometheus-0", "10.0.0.1", ready=False))
        self.addCleanup(self.world.locator.stop)

    def start(self) -> None:
        """Begin to watch, and forget that the beginning counts as a change."""
        self.world.locator.start(self.world.changed)
        self.world.settle()
        self.world.changes = 0

    def changes(self) -> int:
        """Return how many changes were told since asked last."""
        self.world.settle()
        told, self.world.changes = self.world.changes, 0
        return told

    def make_ready(self, *, ready: bool = True) -> None:
        """Have the pod be ready, or not."""
        self.fake.put("pods", pod("prometheus-0", "10.0.0.1", ready=ready))

    def verbs(self) -> list[str]:
        """Return what was asked so far."""
        return [seen.verb for seen in self.fake.seen]


class WatchTests(_Watched):
    """A watch in good times."""

    def test_pod_becomes_ready(self) -> None:
        """A pod that becomes ready is told at once, and the next look-up lists it as ready."""
        self.start()
        (before,) = self.successResultOf(self.world.locator.locate())
        self.assertIn("prometheus-0 is not ready: containers with unready status", before.not_ready)
        self.make_ready()
        self.assertEqual(self.changes(), 1)
        (after,) = self.successResultOf(self.world.locator.locate())
        self.assertEqual(after.not_ready, "")
        self.assertEqual(self.world.clock.seconds(), 0)

    def test_what_is_asked(self) -> None:
        """The watch goes on from the version of the list, has an end, and wants bookmarks; the selector is the list's."""
        self.start()
        listed, watched = self.fake.seen
        self.assertEqual(listed.query, {"labelSelector": "app=prometheus", "limit": "1"})
        self.assertTrue(240 <= int(watched.query["timeoutSeconds"]) <= 300)
        expected = {"watch": "1", "resourceVersion": "1001", "allowWatchBookmarks": "true", "labelSelector": "app=prometheus"}
        self.assertEqual(watched.query, {**expected, "timeoutSeconds": watched.query["timeoutSeconds"]})

    def test_beginning_is_a_change(self) -> None:
        """When the server is reached, a look-up is made at once: it may not have been there before."""
        self.world.locator.start(self.world.changed)
        self.assertEqual(self.changes(), 1)

    def test_only_what_matters(self) -> None:
        """Pods come and go and change in many ways; only what changes the list is told."""
        self.start()
        self.make_ready()
        self.assertEqual(self.changes(), 1)
        self.make_ready()
        self.fake.put("pods", pod("grafana-0", "10.0.0.9", labels={"app": "grafana"}))
        self.fake.put("pods", pod("prometheus-1", "", phase="Pending"))
        self.fake.bookmark()
        self.assertEqual(self.changes(), 0)
        self.fake.put("pods", pod("prometheus-1", "10.0.0.2"))
        self.assertEqual(self.changes(), 1)
        self.fake.delete("pods", "prometheus-1")
        self.assertEqual(self.changes(), 1)

    def test_pod_is_deleted(self) -> None:
        """A pod that begins to terminate is reported, though nothing was known of it; its final end is, too: it was listed."""
        self.start()
        terminating = pod("prometheus-0", "10.0.0.1")
        terminating["metadata"]["deletionTimestamp"] = "2024-05-01T10:00:00Z"
        self.fake.put("pods", terminating)
        self.assertEqual(self.changes(), 1)
        self.fake.delete("pods", "prometheus-0")
        self.assertEqual(self.changes(), 1)

    def test_stopping_cuts_the_stream(self) -> None:
        """Stopping cuts the stream, and nothing is told any more."""
        self.start()
        self.assertEqual(len(self.fake.watches), 1)
        self.world.locator.stop()
        self.make_ready()
        self.assertEqual((self.changes(), self.fake.watches, self.world.clock.getDelayedCalls()), (0, [], []))

    def test_start_again(self) -> None:
        """A stopped watch can be started again."""
        self.start()
        self.world.locator.stop()
        self.start()
        self.make_ready()
        self.assertEqual((self.changes(), len(self.fake.watches)), (1, 1))


class ListedTests(_Watched):
    """Changes that a look-up has to list."""

    def start(self) -> None:
        super().start()
        self.successResultOf(self.world.locator.locate())

    def fail(self) -> None:
        """Make a look-up that fails."""
        self.fake.fault(status=503)
        self.failureResultOf(self.world.locator.locate(), DiscoveryError)
        self.fake.fault(status=0)

    def test_failed_look_up_is_repeated(self) -> None:
        """A change is reported again after each look-up that fails, less and less often, until one has listed it."""
        self.start()
        self.make_ready()
        self.assertEqual(self.changes(), 1)
        for longest in (1, 2, 4):
            self.fail()
            self.world.advance(longest / 2 - 0.01)
            self.assertEqual(self.changes(), 0)
            self.world.advance(longest / 2 + 0.01)
            self.assertEqual(self.changes(), 1)
        self.successResultOf(self.world.locator.locate())
        self.world.advance(60)
        self.assertEqual(self.changes(), 0)

    def test_without_a_change(self) -> None:
        """A look-up that fails is not repeated before the next interval if no change was reported."""
        self.start()
        self.fail()
        self.world.advance(60)
        self.assertEqual(self.changes(), 0)

    def test_change_during_a_look_up(self) -> None:
        """A change that is reported during a look-up, whose list may not have it, is reported again."""
        self.start()
        self.fake.fault(hanging=True)
        looked = self.world.locator.locate()
        self.make_ready()
        self.assertEqual(self.changes(), 1)
        looked.cancel()
        self.failureResultOf(looked)
        self.world.advance(1)
        self.assertEqual(self.changes(), 1)

    def test_nothing_is_repeated_after_the_end(self) -> None:
        """Nothing is reported again after the locator was stopped."""
        self.start()
        self.make_ready()
        self.assertEqual(self.changes(), 1)
        self.fail()
        self.world.locator.stop()
        self.world.settle()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])


class SliceWatchTests(_Watched):
    """Watching the endpoints of a service."""

    kube = SERVICE

    def test_change_in_any_slice_is_reported(self) -> None:
        """A change in any slice is told."""
        self.start()
        self.fake.put("endpointslices", endpoint_slice("a", [endpoint("10.0.0.1", "prometheus-0")]))
        self.fake.put("endpointslices", endpoint_slice("b", [endpoint("10.0.0.2", "prometheus-1")]))
        self.assertEqual(self.changes(), 2)

    def test_endpoints_are_watched_where_there_are_no_slices(self) -> None:
        """Where there are no slices, the Endpoints object is watched."""
        self.fake.fault(not_served=frozenset({"endpointslices"}))
        self.start()
        subset = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 9090}]}
        self.fake.put("endpoints", endpoints_object("prometheus", [subset]))
        self.fake.put("endpoints", endpoints_object("kube-scheduler", [subset]))
        self.assertEqual(self.changes(), 1)


class TroubledWatchTests(_Watched):
    """A watch in bad times."""

    def resumed(self, verbs: list[str]) -> None:
        """Check that within a second everything is as it was, and what was asked for that."""
        begun = len(self.fake.seen)
        self.world.advance(1)
        self.assertEqual(self.verbs()[begun:], verbs)
        self.assertEqual(len(self.fake.watches), 1)

    def test_cut_in_the_middle(self) -> None:
        """A stream that is cut in the middle of an event goes on where it was, so that nothing is missed."""
        self.start()
        self.make_ready()
        self.changes()
        self.fake.cut()
        self.make_ready(ready=False)
        self.assertEqual(self.changes(), 0)
        self.resumed(["watch"])
        self.assertEqual(self.changes(), 1)

    def test_ends_in_order(self) -> None:
        """A server ends a watch after some time; the next one begins at once, from the version of the last bookmark."""
        self.start()
        self.fake.touch()
        self.fake.bookmark()
        self.world.settle()
        self.world.advance(300)
        self.world.advance(1)
        self.assertEqual(self.verbs(), ["list", "watch", "watch"])
        self.assertEqual(self.fake.seen[-1].query["resourceVersion"], "1002")
        self.assertEqual(self.changes(), 0)

    def test_gone_in_the_stream(self) -> None:
        """When the version is gone (410 as an event), it is listed anew, and that counts as a change."""
        self.start()
        self.fake.expire()
        self.world.settle()
        self.resumed(["list", "watch"])
        self.assertEqual(self.changes(), 1)

    def test_other_error_in_the_stream(self) -> None:
        """After any other error event, too, the version is listed anew: the server may have been restored to an older one."""
        self.start()
        self.fake.send_raw(b'{"type":"ERROR","object":{"code":504,"message":"Too large resource version: 1001"}}\n')
        self.world.settle()
        self.resumed(["list", "watch"])
        self.assertEqual(self.changes(), 1)

    def test_gone_as_a_status(self) -> None:
        """When the version is gone (410 as a status, or as the first event), it is listed anew."""
        for as_status in (True, False):
            self.fake.fault(gone_as_status=as_status)
            self.start()
            self.fake.cut()
            self.world.settle()
            self.make_ready(ready=as_status)
            self.fake.compact()
            self.world.advance(1)
            self.world.advance(2)
            self.assertEqual(self.verbs()[-3:], ["watch", "list", "watch"])
            self.assertEqual((self.changes(), len(self.fake.watches)), (1, 1))
        self.assertEqual(self.logged, [])

    def test_half_open(self) -> None:
        """A stream that has been silent for longer than a server may keep it is given up."""
        self.start()
        watch = self.fake.watches[0]
        watch.timeout.reset(9999)
        self.world.advance(260)
        self.fake.bookmark()
        self.world.settle()
        self.world.advance(260)
        self.assertEqual(self.fake.watches, [watch])
        self.world.advance(80)
        self.assertEqual(self.fake.watches, [])
        self.resumed(["watch"])

    def test_no_answer(self) -> None:
        """A server that takes the request and is silent is given up, and asked again."""
        for fault in ("hanging", "hanging_watches"):
            self.fake.fault(**{fault: True})
            self.start()
            self.assertEqual(self.fake.held, 1)
            self.world.advance(61)
            self.assertEqual(self.fake.held, 0)
            self.fake.fault(**{fault: False})
            self.world.advance(2)
            self.assertEqual(len(self.fake.watches), 1)

    def test_stopped_while_it_begins(self) -> None:
        """Stopping gives up a request that is not answered yet, and leaves nothing behind."""
        self.fake.fault(hanging_watches=True)
        self.start()
        self.world.locator.stop()
        self.world.settle()
        self.assertEqual((self.fake.held, self.world.clock.getDelayedCalls()), (0, []))

    def test_token_expires(self) -> None:
        """A token that has expired when the stream begins anew is read again."""
        old, new = (
            ClusterAccess("https://kube.example:6443", "monitoring", authorization=f"Bearer {each}") for each in ("old", "new")
        )
        self.fake.tokens = {"old": "alice"}
        self.world.access = old
        self.start()
        self.fake.tokens = {"new": "alice"}
        self.world.access = new
        self.fake.end()
        self.world.settle()
        self.resumed(["watch"])
        self.assertEqual(self.fake.refused, 1)
        self.make_ready()
        self.assertEqual(self.changes(), 1)

    def test_forbidden_watch_is_reported_once(self) -> None:
        """A role that allows to list and not to watch is told once; look-ups go on."""
        self.fake.fault(forbidden=frozenset({("watch", "pods")}))
        self.start()
        for _ in range(10):
            self.world.advance(30)
        self.assertEqual(len(self.logged), 1)
        self.assertIn("pods in namespace 'monitoring': status 403: pods is forbidden", self.logged[0])
        self.assertEqual(len(self.successResultOf(self.world.locator.locate())), 1)
        self.fake.fault(forbidden=frozenset())
        self.world.advance(31)
        self.assertEqual(len(self.fake.watches), 1)

    def test_server_is_away(self) -> None:
        """A server that is away is asked less and less often, half a minute apart at most; then a change is told at once."""
        self.fake.fault(status=503)
        self.start()
        for _ in range(600):
            self.world.advance(1)
        self.assertTrue(20 <= len(self.fake.seen) <= 50, len(self.fake.seen))
        self.fake.fault(status=0)
        self.world.advance(30)
        self.assertEqual((self.changes(), len(self.fake.watches)), (1, 1))

    def test_stream_of_garbage_is_retried(self) -> None:
        """A stream of something else is given up, and tried again."""
        for garbage in (b"<html>\n", b"[]\n", b'{"type":"ADDED","object":[]}\n', b'{"type":"ERROR","object":{"code":500}}\n'):
            self.start()
            self.fake.send_raw(garbage)
            self.world.settle()
            self.assertEqual(self.fake.watches, [])
            self.world.advance(2)
            self.assertEqual(len(self.fake.watches), 1)

    def test_short_streams(self) -> None:
        """A server that ends every watch at once is not asked in a frenzy."""
        self.start()
        for _ in range(600):
            self.fake.end()
            self.world.advance(0.1)
        self.assertLess(len(self.fake.seen), 12)

    def test_bug_in_a_watch_is_logged_and_retried(self) -> None:
        """A bug in the watching is logged, and does not end it."""
        self.start()
        self.world.locator._resource_watch._is_news = lambda *_: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        self.make_ready()
        self.world.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.world.advance(1)
        self.assertEqual(len(self.fake.watches), 1)

    def test_namespace_is_read_each_time(self) -> None:
        """A context that has moved to another namespace is followed when the watch begins anew."""
        self.start()
        self.world.access = evolve(self.world.access, namespace="other")
        self.fake.expire()
        self.world.settle()
        self.world.advance(61)
        self.fake.expire()
        self.world.settle()
        self.world.advance(1)
        self.assertIn("/namespaces/other/", self.fake.seen[-1].path)


class PartsTests(SynchronousTestCase):
    """The pure parts."""

    def test_pauses_double_with_jitter(self) -> None:
        """Pauses double up to half a minute, and are never the same twice."""
        rng = random.Random(1)
        longest = [max(pause(failures, rng) for _ in range(100)) for failures in range(8)]
        shortest = [min(pause(failures, rng) for _ in range(100)) for failures in range(8)]
        for number, most in enumerate((0.5, 1, 2, 4, 8, 16, 30, 30)):
            self.assertTrue(most / 2 <= shortest[number] < longest[number] <= most)
        self.assertLessEqual(pause(100_000, rng), 30)

    def test_event_has_type_and_metadata(self) -> None:
        """An event is a type and an object with metadata; an error ends the use of the version."""
        item = {"metadata": {"resourceVersion": "7"}}
        self.assertEqual(read_event(json.dumps({"type": "ADDED", "object": item}).encode()), ("ADDED", item))
        for code in (b"410", b"504", b'"x"'):
            self.assertRaises(VersionExpired, read_event, b'{"type":"ERROR","object":{"code":%b}}' % code)
        for line in (b"{", b"7", b"{}", b'{"type":"ADDED","object":{"metadata":7}}', b'{"type":"ERROR","object":7}', b"[" * 9999):
            self.assertRaises(DiscoveryError, read_event, line)

    def test_lines_are_found_across_pieces(self) -> None:
        """Lines are found wherever the pieces end; empty ones do not count; one without an end is refused."""
        clock, taken = Clock(), []
        lines = LineStream(taken.append, clock, 10)
        for piece in (b"on", b"e\n\r\ntwo\nth", b"ree\n"):
            lines.dataReceived(piece)
        self.assertEqual(taken, [b"one", b"two", b"three"])
        for _ in range(9):
            lines.dataReceived(b"x" * 1024 * 1024)
        self.failureResultOf(lines.ended, DiscoveryError)
        lines.dataReceived(b"four\n")
        lines.connectionLost()
        self.assertEqual((len(taken), clock.getDelayedCalls()), (3, []))
