"""
All configured locators seen as one that never fails: each keeps its last good list while its source is away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred, FirstError, TimeoutError, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.errors import ConfigError, LocateError, PartlyLocated
from mpp.interfaces import ILocator, IVerifiedLocator
from mpp.model import Backend, Located

_log = make_logger()

# Longer than a healthy API takes; a hanging one delays every round by so much.
LOCATE_TIMEOUT_S = 3.0
# Nobody waits for it; a source that is slower than this at the start of the program may be down as well.
VERIFY_TIMEOUT_S = 5.0


@frozen
class Source:
    """
    What is known of one locator.

    :ivar name: the locator's.
    :ivar located: its last good list; empty before the first one.
    :ivar problem: why its last look-up failed, empty when it worked.
    :ivar errors: how many look-ups failed so far.
    :ivar read: a look-up has worked, or found something at least.
    """

    name: str
    located: tuple[Located, ...] = ()
    problem: str = ""
    errors: int = 0
    read: bool = False

    @property
    def up(self) -> bool:
        """Whether the last look-up worked."""
        return not self.problem


class MergedLocator:
    """
    Asks all locators at once.

    :param clock: for the time limit of each look-up.
    :param failed: called with the locator's name for each failed look-up, to be counted.
    :ivar sources: one for each locator, in their order.
    """

    def __init__(
        self,
        locators: Sequence[ILocator],
        clock: IReactorTime,
        *,
        failed: Callable[[str], None],
        timeout: float = LOCATE_TIMEOUT_S,
    ) -> None:
        self._locators = tuple(locators)
        self._clock = clock
        self._failed = failed
        self._timeout = timeout
        self.sources = tuple(Source(locator.name) for locator in locators)
        self._changed: Callable[[], None] | None = None
        self._former: tuple[Located, ...] = ()

    def locate(self) -> Deferred[tuple[Located, ...]]:
        """
        List the backends of all locators, in the locators' order, each backend once: ready, if any of them holds it to be.

        :return Deferred(tuple): never fails, except by cancellation, which stops all look-ups.
        """
        locators = self._locators
        asked = [self._ask(locator, source) for locator, source in zip(locators, self.sources, strict=True)]
        return gatherResults(asked, consumeErrors=True).addCallback(self._merge, locators)

    def _ask(self, locator: ILocator, last: Source) -> Deferred[Source]:
        looked_up: Deferred[tuple[Located, ...]] = maybeDeferred(locator.locate)
        looked_up.addTimeout(self._timeout, self._clock)
        return looked_up.addCallbacks(self._good, self._bad, callbackArgs=(last,), errbackArgs=(last, locator))

    def _good(self, located: tuple[Located, ...], last: Source) -> Source:
        if not last.up:
            text = "Locator {locator} works again, {count} backends"
            _log.info(text, locator=last.name, count=len(located), log_same=f"{last.name} works again")
        return evolve(last, located=located, problem="", read=True)

    def _bad(self, failure: Failure, last: Source, locator: ILocator) -> Source | Failure:
        if all(locator is not each for each in self._locators):
            # It was stopped while it was asked, and nobody wants to know any more.
            return last
        if failure.check(CancelledError):
            return failure
        problem = self._explain(failure, last)
        partly = failure.value.located if isinstance(failure.value, PartlyLocated) else None
        located = last.located if partly is None else partly
        if problem != last.problem:
            _log.warn(
                "Locator {locator} failed, going on with {count} backends: {problem}",
                locator=last.name,
                count=len(located),
                problem=problem,
            )
        self._failed(last.name)
        return evolve(last, located=located, problem=problem, errors=last.errors + 1, read=last.read or bool(partly))

    def _explain(self, failure: Failure, last: Source) -> str:
        """Give one line. Locators may be anyone's: a bug in one must not stop the others, so it is logged in full, once."""
        if failure.check(LocateError):
            return str(failure.value)
        if failure.check(TimeoutError):
            return f"no answer within {self._timeout:g} s"
        problem = f"bug in the locator: {failure.type.__name__}: {failure.value}" if failure.type else "bug in the locator"
        if problem != last.problem:
            _log.failure("Locator {locator} raised what it must not", failure, locator=last.name)
        return problem

    def _merge(self, sources: list[Source], locators: tuple[ILocator, ...]) -> tuple[Located, ...]:
        # They may have been replaced while they were asked.
        found = dict(zip(map(id, locators), sources, strict=True))
        self.sources = tuple(found.get(id(locator), source) for locator, source in zip(self._locators, self.sources, strict=True))
        if all(source.read for source in self.sources):
            self._former = ()
        merged: dict[Backend, Located] = {}
        for each in (*(located for source in self.sources for located in source.located), *self._former):
            known = merged.setdefault(each.backend, each)
            if known.not_ready and not each.not_ready:
                merged[each.backend] = each
        return tuple(merged.values())

    def verify(self) -> Deferred[None]:
        """
        Ask the sources that can tell whether they understand what is configured.

        :return Deferred(None): fails with `ConfigError` as soon as one of them does not. Who does not answer soon
            (`VERIFY_TIMEOUT_S`) has nothing against it. May be cancelled.
        """
        asked = [self._verify(locator) for locator in self._locators if IVerifiedLocator.providedBy(locator)]
        return gatherResults(asked, consumeErrors=True).addCallbacks(lambda _: None, _first)

    def _verify(self, locator: IVerifiedLocator) -> Deferred[None]:
        verified: Deferred[None] = maybeDeferred(locator.verify)
        verified.addTimeout(VERIFY_TIMEOUT_S, self._clock)
        return verified.addErrback(self._not_verified, locator)

    def _not_verified(self, failure: Failure, locator: IVerifiedLocator) -> None:
        if failure.check(ConfigError, CancelledError):
            failure.raiseException()
        if not failure.check(TimeoutError):
            _log.failure("Locator {locator} raised what it must not", failure, locator=locator.name)

    def replace(self, locators: Sequence[ILocator]) -> None:
        """
        Ask these from now on: those that were asked before keep what is known of them, the others are stopped.

        What the others had found stays for as long as one of the new ones has never answered: a source that is down when it is
        configured must not leave clients without any server.
        """
        known = dict(zip(map(id, self._locators), self.sources, strict=True))
        wanted = {id(locator) for locator in locators}
        gone = [locator for locator in self._locators if id(locator) not in wanted]
        fresh = [locator for locator in locators if id(locator) not in known]
        former = (*(each for locator in gone for each in known[id(locator)].located), *self._former)
        self._locators = tuple(locators)
        self.sources = tuple(known.get(id(locator), Source(locator.name)) for locator in locators)
        self._former = former if fresh or self._former else ()
        if self._former:
            _log.info("{count} backends stay until all locators have answered", count=len(set(self._former)))
        if self._changed is not None:
            for locator in fresh:
                locator.start(self._changed)
        for locator in gone:
            locator.stop()

    def start(self, changed: Callable[[], None]) -> None:
        """Have every locator watch its source; see `ILocator.start`."""
        self._changed = changed
        for locator in self._locators:
            locator.start(changed)

    def stop(self) -> None:
        """Stop watching."""
        self._changed = None
        for locator in self._locators:
            locator.stop()


def _first(failure: Failure) -> Failure:
    """Give the failure that is inside of the one that `gatherResults` makes."""
    inner: Failure = failure.value.subFailure if isinstance(failure.value, FirstError) else failure
    return inner
