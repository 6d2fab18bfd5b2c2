"""
All seams of mpp, in one file. Reading it is reading the program.

``IStrategy`` and ``IAffinity`` are extension points (see ``mpp.app.extensions``); the others let one layer use
the next without importing it, and let a test stand in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from mpp.core.coverage import Coverage
    from mpp.core.model import Backend, Choice, DiscoveredBackend, Headers, Observation, RequestInfo, Selection, Standing


class ILocator(Interface):
    """Finds backends somewhere."""

    name: str = Attribute("Short name, unique among the configured locators; the ``locator`` label in metrics.")
    sought: str = Attribute("What it looks for, and where, for the operator; shown when nothing is found.")
    explicit: bool = Attribute("Its source is a written list. An empty one may be a mistake, so the last list stays for a while.")

    def locate() -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        List the backends known to the source right now, in the source's order, each once.

        Entries that make no sense are reported in the log and skipped.

        :return Deferred(tuple): fires with what is listed. Fails with `mpp.core.errors.DiscoveryError` when the source cannot be
            read; the caller then keeps the last good list, or what a `mpp.core.errors.PartlyDiscovered` carries. Cancelling it
            stops the look-up.
        """

    def start(changed: Callable[[], None]) -> None:
        """
        Begin to watch the source, if it can be watched.

        :param changed: called whenever a look-up would give something new. It only ever hastens the next look-up; a source
            that can only be asked never calls it.
        """

    def stop() -> None:
        """Stop watching, and leave no request behind. Harmless when never started."""


class IVerifiedLocator(ILocator):
    """A locator with a part of its configuration that only its source can judge."""

    def verify() -> Deferred[None]:
        """
        Ask the source whether it understands what is configured.

        :return Deferred(None): fails with `mpp.core.errors.ConfigError` when it does not, and never will; with nothing else: a
            source that is down, or forbids something, may be mended. May be cancelled.
        """


class IStrategy(Interface):
    """Decides who takes traffic. Pure: no clock, no I/O, no logging; the same arguments give the same answer."""

    def select(observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """
        Choose among what was observed.

        :param observations: one for each known backend, in the locators' order, which is the tie-breaker.
        :param previous: the choice in force (an incumbent may be preferred), or None in the first round.
        :return: every observed backend is either selected or a standby.
        """


class IAffinity(Interface):
    """Keeps a client on one backend."""

    name: str = Attribute("The option's name; the ``type`` label in metrics.")

    def preferred(facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Give the backend this client belongs on, always one of ``selection.selected``, or None when there is no telling."""

    def remember(facts: RequestInfo, backend: Backend, now: float) -> bytes | None:
        """
        Take note that ``backend`` finally answered this client.

        :return: the value of a ``Set-Cookie`` header to send along, or None.
        """


class ISuspectQueries(Interface):
    """The reads that servers may have died of lately, see `mpp.selection.query_of_death.SuspectQueries`."""

    until: Mapping[str, float] = Attribute("Until when each is suspect, by its key; empty, or there may be some.")

    def __contains__(key: str) -> bool:
        """Return whether a read is suspect."""


class ISelections(Interface):
    """The current Selection, and the ways to have it renewed."""

    current: Selection = Attribute("The Selection in force; an empty one before the first round has finished.")
    coverage: Coverage = Attribute(
        "What the servers lack of their history, as far as it is known. Replaced as a whole."
    )
    suspects: ISuspectQueries = Attribute("The reads that servers may have died of lately; mostly there are none.")

    def ready() -> Deferred[Selection]:
        """
        Wait until a backend is known, or the program has run for `mpp.selection.rounds.STARTING_S` and a round has found none.

        :return Deferred(Selection): never fails; each caller may cancel its own.
        """

    def reselect() -> Deferred[Selection]:
        """
        Make a fresh Selection: joins the running round if there is one.

        :return Deferred(Selection): fires with the Selection then in force. Never fails; each caller may cancel its own,
            which does not stop the round.
        """

    def report(backend: Backend, standing: Standing, why: str) -> None:
        """
        Tell that a request failed through a backend's fault, and have the backend probed beside the traffic.

        ``VIABLE`` and ``BUSY`` are no evidence: the backend is probed soon, and what comes of that counts
        (`mpp.selection.outliers.limiting`). Hard evidence (``NOT_READY``, ``DOWN``) ejects it: it takes effect on ``current``
        before it returns, and stands until enough probes that began later say otherwise. Soft evidence (``SUSPECT``) is counted,
        and ejects when there is enough of it. See `mpp.selection.outliers.ejection`.
        """

    def rescued(failed: Backend, by: Backend) -> None:
        """
        Report that a request failed through a backend's fault and was answered by one that is not expected to answer.

        :param failed: the backend that failed the request; ``report`` was called for it.
        :param by: a backend whose standing is ``NOT_READY`` or worse. Its answer is a proof that it is well, see
            `mpp.proxy.decisions.retry_policy.is_proof`. It takes traffic when there are enough such requests, see
            `mpp.selection.outliers.vouching`.
        """

    def storage_failed(backend: Backend, error: str) -> None:
        """
        Say, in the log and with what is published, that a backend cannot read a part of its own storage.

        :param error: what it said, one line.
        """

    def suspect(key: str, why: str) -> None:
        """
        Report that a server may have died of a read: it is in ``suspects`` from now on, in all workers.

        :param key: see `mpp.selection.query_of_death.key_of`.
        :param why: one line for a human.
        """

    def answered(backend: Backend) -> None:
        """Tell that a request was answered well: soft evidence against this backend is forgotten. Call it for every one."""


class IResponse(Interface):
    """
    The answer of a backend, whole or begun.

    While it is not ``complete`` its connection is paused, and nothing more happens until ``relay`` or ``cancel`` is called.
    """

    status: int = Attribute("Status code, 200 to 599.")
    reason: bytes = Attribute("Reason phrase, may be empty.")
    headers: Headers = Attribute("As received, hop-by-hop fields included.")
    buffered: list[bytes] = Attribute("The body's bytes that have arrived and were not taken, in pieces.")
    complete: bool = Attribute("``held`` is the whole rest of the body.")
    length: int | None = Attribute("The whole body's length when it is known (complete, or announced), else None.")
    paused: bool = Attribute("``pause`` was called, and ``resume`` has not been since.")

    def relay(consumer: IBodyConsumer) -> None:
        """
        Deliver the body: what is held, then what arrives, until its end. Call it once; a complete Response may be relayed
        too (for a body too large to be written to a slow client at once). Pieces are at most 128 KiB, so that ``pause`` bites;
        each gives its bytes back to the memory budget as it is delivered. Before it returns it may already have called
        ``consumer``, even ``body_ended``.

        ``consumer`` may call ``pause``/``resume`` of this Response at any time from then on.
        """

    def pause() -> None:
        """Deliver nothing until ``resume``; the backend is made to wait (TCP back-pressure)."""

    def resume() -> None:
        """Go on delivering."""

    def cancel() -> None:
        """Give up: abort the connection, deliver nothing more, give back what is held. Harmless when all is over."""

    def release() -> None:
        """Forget what is held and give its bytes back to the memory budget. Harmless when called again."""


class IBodyConsumer(Interface):
    """Takes a body in pieces."""

    def body_received(data: bytes) -> None:
        """Take the next piece, at least one byte."""

    def body_ended() -> None:
        """The body is complete; the last call."""

    def body_failed(error: Exception) -> None:
        """
        Take the error that broke the body off; the last call.

        :param error: `mpp.core.errors.UpstreamError` in phase BODY when the backend broke off, `mpp.core.errors.ClientTooSlow`
            when the response is given up because its client reads it too slowly.
        """

    def taken() -> int:
        """Return how many bytes of the body whoever reads it in the end has taken so far."""


class IProgress(Interface):
    """Where it is counted how an answer comes in."""

    received: int = Attribute("Bytes of the answer that have arrived, head included; only ever counted up.")
    dequeued_at: float = Attribute("When it was the request's turn, if it had to wait for that: by the monotonic clock; else 0.")
    queued: bool = Attribute("The request waits for a slot; nothing of it has been sent.")

    def client() -> str:
        """Return the address of the client that the response is for."""


class IUpstreams(Interface):
    """Sends requests to backends."""

    def send(
        backend: Backend,
        head: bytes,
        body: bytes,
        *,
        fresh: bool,
        buffer: int,
        may_buffer: Callable[[int, Headers], bool] | None = None,
        progress: IProgress | None = None,
        urgent: bool = False,
        query_slots: int = 0,
    ) -> Deferred[IResponse]:
        """
        Send one request on a kept or a new connection and wait for the answer.

        :param head: the complete request head, from the request line to the empty line; what it announces as
            length is ``body``'s. ``HEAD`` is recognized by its first bytes.
        :param fresh: always on a new connection.
        :param buffer: hold back up to so many bytes of the body (0: fire as soon as the head is in). The memory budget
            may be exhausted earlier; then it fires with what there is.
        :param may_buffer: asked once with status and headers when the head is in; answers whether the body may be held
            back at all (an endless event stream must not be). None: yes.
        :param progress: whose count of bytes is kept as they arrive.
        :param urgent: sent at once, however many requests the backend is busy with; for probes.
        :param query_slots: have it wait while so many requests that have such a limit await their response; 0: there is none.
        :return Deferred(IResponse): fires when the answer is complete, or more than ``buffer`` bytes of its body have
            come. Fails with `mpp.core.errors.UpstreamError`. Cancelling it aborts the connection (or the dialing) and leaves
            nothing.
        """

    def has_room(backend: Backend, *, query_slots: int = 0) -> bool:
        """
        Return whether a request would be sent to ``backend`` at once, instead of having to wait for a slot.

        :param query_slots: as for ``send``.
        """


class IDownstream(Interface):
    """The client's side of one request."""

    info: RequestInfo = Attribute("What the client asked.")
    sent: int = Attribute("Bytes of the answer's body that were handed to the transport, chunking not counted.")

    def deliver(
        response: IResponse,
        served_by: Backend,
        cookies: tuple[bytes, ...],
        attempts: int,
        ended: Callable[[Exception | None], None],
        timing: bytes = b"",
    ) -> None:
        """
        Send a backend's answer, and take the Response over: nobody else relays, releases or cancels it from now on.

        :param cookies: ``Set-Cookie`` values of mpp's own.
        :param attempts: how many it took; the client is told when it was more than one.
        :param ended: called once, perhaps before this returns: with None when the last byte was handed to the transport, or
            with the error that broke the answer off; the client's connection is then reset, so that it can tell.
        :param timing: the value of ``Server-Timing``, or empty.
        """

    def fail(status: int, error_type: str, message: str, retry_after: int | None) -> None:
        """Send an error of mpp's own, whole. Only while nothing was delivered."""

    def abort() -> None:
        """Reset the client's connection, so that it takes nothing that was sent for a whole answer."""
