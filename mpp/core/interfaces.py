"""
All interfaces between the layers of mpp.

``IStrategy`` and ``IAffinity`` are extension points (see ``mpp.app.extensions``). The others let one layer use the next without
importing it, and let a test replace it.
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
    """A discovery source that lists backends."""

    name: str = Attribute("Short name, unique among the configured locators; the ``locator`` label in metrics.")
    sought: str = Attribute("Description of its search, such as ``targets in a.json``; logged when it finds nothing.")
    explicit: bool = Attribute("Its source is a written list. If it is empty, maybe by mistake, the last list stays for a while.")

    def locate() -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        List the backends that the source knows now, in the source's order, each once.

        Entries that cannot be used are logged and skipped.

        :return Deferred(tuple): fires with the listed backends. Fails with `mpp.core.errors.DiscoveryError` when the source
            cannot be read; the caller then keeps the last good list, or the backends that a `mpp.core.errors.PartlyDiscovered`
            carries. Cancelling it stops the look-up.
        """

    def start(changed: Callable[[], None]) -> None:
        """
        Start to watch the source, if it can be watched.

        :param changed: called whenever a look-up would return another list. It only makes the next look-up happen earlier; a
            source that can only be polled never calls it.
        """

    def stop() -> None:
        """Stop watching the source, and cancel all pending requests. Harmless when the watch was never started."""


class IVerifiedLocator(ILocator):
    """A locator with a part of its configuration that only its source can check."""

    def verify() -> Deferred[None]:
        """
        Ask the source whether it understands the configuration.

        :return Deferred(None): fails with `mpp.core.errors.ConfigError` when the source does not understand it and never will. It
            fails with no other error: a source that is down, or forbids a request, may recover. May be cancelled.
        """


class IStrategy(Interface):
    """The algorithm that selects the backends for traffic. Pure: no I/O, no logging; equal arguments give an equal result."""

    def select(observations: Sequence[Observation], previous: Choice | None, now: float) -> Choice:
        """
        Choose the selected backends and the standbys from the observations.

        :param observations: one for each known backend, in the locators' order, which is the tie-breaker.
        :param previous: the current choice (an incumbent may be preferred), or None in the first round.
        :return: every observed backend is either selected or a standby.
        """


class IAffinity(Interface):
    """The rule that keeps a client on one backend."""

    name: str = Attribute("The option's name; the ``type`` label in metrics.")

    def preferred(facts: RequestInfo, selection: Selection, now: float) -> Backend | None:
        """Return the backend of this client, always one of ``selection.selected``, or None when the client has none."""

    def remember(facts: RequestInfo, backend: Backend, now: float) -> bytes | None:
        """
        Record that ``backend`` has answered a request of this client.

        :return: the value of a ``Set-Cookie`` header to send with the response, or None.
        """


class ISuspectQueries(Interface):
    """The reads that may have crashed servers lately, see `mpp.selection.query_of_death.SuspectQueries`."""

    until: Mapping[str, float] = Attribute("The time until which each read is suspect, by its key; often empty.")

    def __contains__(key: str) -> bool:
        """Return whether the read with this key is suspect."""


class ISelections(Interface):
    """The current Selection, and the ways to renew it."""

    current: Selection = Attribute("The newest Selection; an empty one before the first round has finished.")
    coverage: Coverage = Attribute("The known gaps in the servers' histories; a new value replaces it.")
    suspects: ISuspectQueries = Attribute("The reads that may have crashed servers lately; mostly there are none.")

    def ready() -> Deferred[Selection]:
        """
        Wait until a backend is known, or the program has run for `mpp.selection.rounds.STARTING_S` and a round has found none.

        :return Deferred(Selection): never fails; each caller may cancel its own Deferred.
        """

    def reselect() -> Deferred[Selection]:
        """
        Make a new Selection: start a round, or wait for the round that is running.

        :return Deferred(Selection): fires with the Selection that is current then. Never fails; each caller may cancel its own
            Deferred, which does not stop the round.
        """

    def report(backend: Backend, standing: Standing, why: str) -> None:
        """
        Report that a request failed because of a backend, and start an extra probe of the backend.

        ``VIABLE`` and ``BUSY`` only cause a probe of the backend, whose result counts (`mpp.selection.outliers.limiting`).
        ``NOT_READY`` and ``DOWN`` eject the backend at once: ``current`` is changed before this method returns, and the ejection
        lasts until enough later probes succeed. ``SUSPECT`` is counted, and ejects the backend after some such failures in a row
        if requests succeed on another one. See `mpp.selection.outliers.ejection`.
        """

    def rescued(failed: Backend, by: Backend) -> None:
        """
        Report that a request failed because of one backend and was answered by another that is not expected to answer.

        :param failed: the backend that failed the request; ``report`` was called for it.
        :param by: a backend whose standing is ``NOT_READY`` or worse. Its response proves that it works, see
            `mpp.proxy.decisions.retry_policy.is_proof`. It takes traffic when there are enough such requests, see
            `mpp.selection.outliers.vouching`.
        """

    def storage_failed(backend: Backend, error: str) -> None:
        """
        Log and publish that a backend cannot read a part of its own storage.

        :param error: the error message of the backend, one line.
        """

    def suspect(key: str, why: str) -> None:
        """
        Report that a read may have crashed a server: it is in ``suspects`` from now on, in all workers.

        :param key: see `mpp.selection.query_of_death.key_of`.
        :param why: one line for the operator.
        """

    def answered(backend: Backend) -> None:
        """Report that a backend answered a request correctly, so that its failures reported as ``SUSPECT`` are forgotten."""


class IResponse(Interface):
    """The response of a backend. If it is not ``complete``, reading from its connection pauses until ``relay`` or ``cancel``."""

    status: int = Attribute("Status code, 200 to 599.")
    reason: bytes = Attribute("Reason phrase, may be empty.")
    headers: Headers = Attribute("As received, hop-by-hop fields included.")
    buffered: list[bytes] = Attribute("The pieces of the body that have arrived and were not delivered.")
    complete: bool = Attribute("The whole body has arrived, so ``buffered`` contains the rest of it.")
    length: int | None = Attribute("The whole body's length when it is known (complete, or announced), else None.")
    paused: bool = Attribute("``pause`` was called, and ``resume`` has not been since.")

    def relay(consumer: IBodyConsumer) -> None:
        """
        Deliver the whole body to a consumer: the buffered bytes, then the bytes that arrive later. Call it once; a complete
        Response may be relayed too (for a body too large to be written to a slow client at once). Pieces are at most 128 KiB, so
        that ``pause`` takes effect quickly; the bytes of each piece return to the memory budget when it is delivered.
        ``consumer`` may be called, even its ``body_ended``, before this method returns.

        ``consumer`` may call ``pause``/``resume`` of this Response at any time from then on.
        """

    def pause() -> None:
        """Stop the delivery until ``resume`` is called; the backend has to wait (TCP back-pressure)."""

    def resume() -> None:
        """Continue the delivery of the body."""

    def cancel() -> None:
        """Abort the connection, deliver nothing more and release the buffered bytes. Harmless after the end of the response."""

    def release() -> None:
        """Drop the buffered bytes and return them to the memory budget. Harmless when called again."""


class IBodyConsumer(Interface):
    """The receiver of a body that arrives in pieces."""

    def body_received(data: bytes) -> None:
        """Accept the next piece of the body, at least one byte."""

    def body_ended() -> None:
        """Accept the end of a complete body; this is the last call."""

    def body_failed(error: Exception) -> None:
        """
        Accept the error that interrupted the body; this is the last call.

        :param error: `mpp.core.errors.UpstreamError` in phase BODY when the backend broke off the body,
            `mpp.core.errors.ClientTooSlow` when the response is aborted because its client reads it too slowly.
        """

    def taken() -> int:
        """Return how many bytes of the body its final reader (the client) has read so far."""


class IProgress(Interface):
    """The counters of one response while it arrives."""

    received: int = Attribute("Bytes of the response that have arrived, head included; never decreases.")
    dequeued_at: float = Attribute("When the request left the queue, by the monotonic clock; 0 if it did not wait in one.")
    queued: bool = Attribute("The request waits for a slot; no byte of it has been sent.")

    def client() -> str:
        """Return the address of the client that the response is for."""


class IUpstreams(Interface):
    """The sender of requests to backends."""

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
        Send one request on an idle or a new connection to the backend, and wait for the response.

        :param head: the complete request head, from the request line to the empty line; the length that it announces is the
            length of ``body``. ``HEAD`` is recognized by its first bytes.
        :param fresh: always use a new connection.
        :param buffer: buffer up to so many bytes of the body (0: fire as soon as the head is in). The memory budget may be
            exhausted earlier; then the Deferred fires with the bytes that arrived.
        :param may_buffer: called once with status and headers when the head is in; returns whether the body may be buffered at
            all (an endless event stream must not be). None: yes.
        :param progress: the counters that are updated while bytes arrive.
        :param urgent: send at once, however many requests the backend is busy with; for probes.
        :param query_slots: for a query, how many the backend runs at once: the request waits while so many queries are under way;
            0: no limit.
        :return Deferred(IResponse): fires when the response is complete, or more than ``buffer`` bytes of its body have arrived.
            Fails with `mpp.core.errors.UpstreamError`. Cancelling it aborts the connection (or the dialing) and leaves nothing.
        """

    def has_room(backend: Backend, *, query_slots: int = 0) -> bool:
        """
        Return whether a request would be sent to ``backend`` at once, without waiting for a slot.

        :param query_slots: as for ``send``.
        """


class IDownstream(Interface):
    """The client side of one request."""

    info: RequestInfo = Attribute("The client's request.")
    sent: int = Attribute("Bytes of the response body that were written to the transport, without chunk sizes.")

    def deliver(
        response: IResponse,
        served_by: Backend,
        cookies: tuple[bytes, ...],
        attempts: int,
        ended: Callable[[Exception | None], None],
        about: Headers = (),
        also: tuple[Backend, ...] = (),
    ) -> None:
        """
        Send a backend's response, and take over the Response: only this method relays, releases or cancels it from now on.

        :param cookies: the ``Set-Cookie`` values that mpp adds.
        :param attempts: the number of attempts; the response shows it to the client when it is more than one.
        :param ended: called once, perhaps before this returns: with None when the last byte was handed to the transport, or with
            the error that interrupted the response. The client's connection is then reset, so that the client can see the error.
        :param about: header fields that mpp adds about the origin of the response, such as ``Server-Timing``.
        :param also: the further backends whose responses are a part of this one.
        """

    def fail(status: int, error_type: str, message: str, retry_after: int | None) -> None:
        """Send a complete error response that mpp itself makes. Only possible before `deliver` is called."""

    def abort() -> None:
        """Reset the client's connection, so that the client does not mistake the bytes sent so far for a complete response."""
