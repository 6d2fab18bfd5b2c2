"""
The merged locator, which combines all configured locators and never fails: it keeps the last good list of each failing source.

# Note [Look-ups outlive rounds]

A source may be slower than a round can wait: Prometheus allows an HTTP SD endpoint a minute. So a round waits for a look-up only
briefly, and the look-up continues in the background; no further one of that source starts meanwhile. A late list counts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve
from twisted.internet.defer import CancelledError, Deferred, FirstError, TimeoutError, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.errors import ConfigError, DiscoveryError, PartlyDiscovered
from mpp.core.interfaces import ILocator, IVerifiedLocator
from mpp.core.model import Backend, DiscoveredBackend
from mpp.core.text.humanize import noun
from mpp.discovery.former import FormerBackends
from mpp.discovery.locator_status import HOLD_S, LocatorStatus

_log = make_logger()

LOOK_UP_TIMEOUT_S = 60.0
"""Seconds that a look-up may take, like the default of Prometheus for an HTTP SD endpoint (its ``refresh_interval``)."""
FIRST_WAIT_S = 3.0
"""Seconds that a round waits for a source that has not been read yet: without its list, the round may have no backend at all."""
WAIT_S = 1.0
"""Seconds that a round waits for a source that has been read before: longer than a healthy API takes to respond."""
# No look-up waits for this; a source that is slower at the start of the program may be down as well.
VERIFY_TIMEOUT_S = 5.0


@define(eq=False)
class _MergedEntry:
    """
    One locator with its look-up.

    :ivar running: its look-up in progress, or None.
    :ivar waiter: fires when the look-up has ended; None when the round that started it no longer waits.
    """

    locator: ILocator
    source: LocatorStatus
    running: Deferred[None] | None = None
    waiter: Deferred[None] | None = None


class MergedLocator:
    """
    A locator that combines several locators, which it runs in parallel.

    :param clock: measures the time limit of each look-up.
    :param failed: called with the locator's name for each failed look-up, to count it.
    """

    def __init__(self, locators: Sequence[ILocator], clock: IReactorTime, *, failed: Callable[[str], None]) -> None:
        self._watched = tuple(_MergedEntry(locator, LocatorStatus(locator.name)) for locator in locators)
        self._clock = clock
        self._failed = failed
        self._changed: Callable[[], None] | None = None
        self._former: tuple[FormerBackends, ...] = ()

    @property
    def sources(self) -> tuple[LocatorStatus, ...]:
        """The status of each locator, in the order of the locators."""
        return tuple(each.source for each in self._watched)

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        List the backends of all locators, in the locators' order, each backend once. It is ready if any locator reports that.

        A locator that has not responded after `FIRST_WAIT_S` (if it was never read) or `WAIT_S` counts with its last list, and
        its look-up goes on; see Note [Look-ups outlive rounds].

        :return Deferred(tuple): fails only when it is cancelled, which ends the wait and not the look-ups.
        """
        waits = [self._ask(each) for each in self._watched if each.running is None]
        return gatherResults(waits, consumeErrors=True).addCallback(self._merged)

    def _ask(self, watched: _MergedEntry) -> Deferred[None]:
        """Start a look-up, and return a Deferred that fires with None when it has ended, or when the wait is over."""
        looked_up: Deferred[tuple[DiscoveredBackend, ...]] = maybeDeferred(watched.locator.locate)
        looked_up.addTimeout(LOOK_UP_TIMEOUT_S, self._clock)
        concluded = looked_up.addCallbacks(self._good, self._bad, callbackArgs=(watched,), errbackArgs=(watched,))
        waiter = watched.waiter = Deferred()
        text = "bug: the backends that locator {locator} found could not be processed, so its list may be out of date"
        name = watched.source.name

        def broken(failure: Failure) -> None:
            _log.failure(text, failure, locator=name)

        # After a bug in the result, too, the wait ends, and the locator is asked again in the next round.
        watched.running = concluded.addErrback(broken).addCallback(self._ended, watched).addErrback(broken)
        if waiter.called:
            watched.running = None
            return waiter
        wait = WAIT_S if watched.source.read else FIRST_WAIT_S
        waiter.addTimeout(wait, self._clock, onTimeoutCancel=lambda _, seconds: self._wait_over(watched, seconds))
        return waiter

    def _wait_over(self, watched: _MergedEntry, seconds: float) -> None:
        watched.waiter = None
        if not watched.source.read:
            _log.warn(
                "locator {locator} has not responded within {seconds:g} s; the round goes on without it, its look-up continues"
                " for up to {limit:g} s",
                locator=watched.source.name,
                seconds=seconds,
                limit=LOOK_UP_TIMEOUT_S,
            )

    def _ended(self, source: LocatorStatus | None, watched: _MergedEntry) -> None:
        """Record the result of a look-up, None if the look-up was stopped, and resume the round or report the change."""
        before, waiter = watched.source, watched.waiter
        watched.running = watched.waiter = None
        if source is not None:
            watched.source = source
        if waiter is not None:
            waiter.callback(None)
        elif watched.source.discovered != before.discovered and self._changed is not None:
            self._changed()

    def _good(self, located: tuple[DiscoveredBackend, ...], watched: _MergedEntry) -> LocatorStatus:
        last, located = watched.source, tuple(located)
        if not all(isinstance(each, DiscoveredBackend) for each in located):
            raise TypeError(f"locator {last.name} returned something else than backends: {located!r:.200}")
        if last.discovered and not located and watched.locator.explicit:
            return self._emptied(last)
        note = "" if located else f"found no backends: it looked for {watched.locator.sought}"
        if note and note != last.note:
            _log.warn("locator {locator} {note}", locator=last.name, note=note, log_same=f"{last.name} {note}")
        elif not last.up or (last.note and not note):
            text = f"locator {{locator}} works again and lists {{count}} {noun(len(located), 'backend')}"
            _log.info(text, locator=last.name, count=len(located), log_same=f"{last.name} works again")
        return evolve(last, discovered=located, problem="", note=note, read=True, empty_since=None)

    def _emptied(self, last: LocatorStatus) -> LocatorStatus:
        """Return a status that keeps the last list until the source has listed nothing for `HOLD_S`, then drops it."""
        now, count = self._clock.seconds(), len(last.discovered)
        since = now if last.empty_since is None else last.empty_since
        if now - since >= HOLD_S:
            dropped = noun(count, "backend is dropped", "backends are dropped")
            text = f"locator {{locator}} has listed no backends for {{hold:g}} s; its {{count}} {dropped}"
            _log.warn(text, locator=last.name, hold=HOLD_S, count=count)
            return evolve(last, discovered=(), problem="", note="lists no backends", empty_since=None)
        if last.empty_since is None:
            kept = noun(count, "backend is kept", "backends are kept")
            text = f"locator {{locator}} lists no backends now; its last {{count}} {kept} for {{hold:g}} s"
            _log.warn(text, locator=last.name, hold=HOLD_S, count=count)
        problem = f"the source lists no backends; the last list is kept until it has done so for {HOLD_S:g} s"
        return evolve(last, problem=problem, empty_since=since)

    def _bad(self, failure: Failure, watched: _MergedEntry) -> LocatorStatus | None:
        # It was stopped during the look-up, and no caller needs the result.
        if watched not in self._watched or failure.check(CancelledError):
            return None
        last, problem = watched.source, self._explain(failure, watched.source)
        partly = failure.value.discovered if isinstance(failure.value, PartlyDiscovered) else None
        if partly is not None and not partly and last.discovered and watched.locator.explicit:
            # The parts that can be read list nothing, maybe by mistake: as with a whole list, see `_good`.
            held = self._emptied(last)
            found = evolve(held, problem="; ".join(filter(None, (problem, held.problem))))
        else:
            found = evolve(last, discovered=last.discovered if partly is None else partly, problem=problem, empty_since=None)
        if found.problem != last.problem:
            count = len(found.discovered)
            text = f"locator {{locator}} failed, continuing with {{count}} {noun(count, 'backend')}"
            _log.warn(text + " that it has found so far: {problem}", locator=last.name, count=count, problem=problem)
        self._failed(last.name)
        return evolve(found, errors=last.errors + 1, read=last.read or partly is not None)

    def _explain(self, failure: Failure, last: LocatorStatus) -> str:
        """Return the problem as one line; a bug in a locator, which may be a plugin, is also logged in full, once."""
        if failure.check(DiscoveryError):
            return str(failure.value)
        if failure.check(TimeoutError):
            return f"no response within {LOOK_UP_TIMEOUT_S:g} s"
        problem = f"bug in the locator: {failure.type.__name__}: {failure.value}" if failure.type else "bug in the locator"
        if problem != last.problem:
            text = "bug: locator {locator} raised an unexpected exception, its last list stays in use"
            _log.failure(text, failure, locator=last.name)
        return problem

    def _merged(self, _: object) -> tuple[DiscoveredBackend, ...]:
        now, listed = self._clock.seconds(), [located for source in self.sources for located in source.discovered]
        self._former = tuple(each for each in self._former if each.still_needed(listed=bool(listed), now=now))
        merged: dict[Backend, DiscoveredBackend] = {}
        for each in (*listed, *(located for former in self._former for located in former.located)):
            known = merged.setdefault(each.backend, each)
            if known.not_ready and not each.not_ready:
                merged[each.backend] = each
        return tuple(merged.values())

    def verify(self) -> Deferred[None]:
        """
        Ask each source that can check its locator's configuration whether that is valid.

        :return Deferred(None): fails with `ConfigError` as soon as a source rejects its configuration. A source that does not
            respond within `VERIFY_TIMEOUT_S` counts as one that accepts it. May be cancelled.
        """
        asked = [self._verify(each.locator) for each in self._watched if IVerifiedLocator.providedBy(each.locator)]
        return gatherResults(asked, consumeErrors=True).addCallbacks(lambda _: None, _first)

    def _verify(self, locator: IVerifiedLocator) -> Deferred[None]:
        verified: Deferred[None] = maybeDeferred(locator.verify)
        verified.addTimeout(VERIFY_TIMEOUT_S, self._clock)
        return verified.addErrback(self._not_verified, locator)

    def _not_verified(self, failure: Failure, locator: IVerifiedLocator) -> None:
        if failure.check(ConfigError, CancelledError):
            failure.raiseException()
        if not failure.check(TimeoutError):
            text = "bug: locator {locator} raised an unexpected exception when its configuration was checked; it counts as valid"
            _log.failure(text, failure, locator=locator.name)

    def replace(self, locators: Sequence[ILocator]) -> None:
        """
        Replace the set of locators. The ones that are in the old and the new set keep their status, perhaps under another name;
        removed ones are stopped.

        If there are new locators, the backends of the removed ones are kept until the new ones have responded, see
        `FormerBackends`.
        """
        known = {id(each.locator): each for each in self._watched}
        for each in self._watched:
            each.source = evolve(each.source, name=each.locator.name)
        watched = [known.get(id(each)) or _MergedEntry(each, LocatorStatus(each.name)) for each in locators]
        gone = [each for each in self._watched if each not in watched]
        fresh = tuple(each for each in watched if each not in self._watched)
        self._watched = tuple(watched)
        removed = FormerBackends(tuple(located for each in gone for located in each.source.discovered), fresh)
        former = (removed, *(each.after(gone, fresh) for each in self._former))
        self._former = tuple(each for each in former if each.located and each.awaited)
        if self._former:
            count = len({located for each in self._former for located in each.located})
            kept = noun(count, "backend of removed locators is kept", "backends of removed locators are kept")
            _log.info(f"{{count}} {kept} until the new locators have responded", count=count)
        if self._changed is not None:
            for each in fresh:
                each.locator.start(self._changed)
        for each in gone:
            _stop(each)

    def start(self, changed: Callable[[], None]) -> None:
        """Start watching each source, see `ILocator.start`; ``changed`` is also called when a late list differs from the last."""
        self._changed = changed
        for each in self._watched:
            each.locator.start(changed)

    def stop(self) -> None:
        """Stop watching, and cancel the look-ups in progress."""
        self._changed = None
        for each in self._watched:
            _stop(each)


def _stop(watched: _MergedEntry) -> None:
    watched.locator.stop()
    if watched.running is not None:
        watched.running.cancel()


def _first(failure: Failure) -> Failure:
    """Return the failure inside a failure of `gatherResults`."""
    inner: Failure = failure.value.subFailure if isinstance(failure.value, FirstError) else failure
    return inner
