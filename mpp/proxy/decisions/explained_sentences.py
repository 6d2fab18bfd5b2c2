"""The sentences that explain which backend a request would be sent to, for `mpp.proxy.decisions.explain`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mpp.core.model import Backend, Observation, Selection, Standing
from mpp.core.settings import Settings
from mpp.core.text.durations import duration
from mpp.core.text.humanize import listing
from mpp.proxy.decisions.placement import STICKY
from mpp.proxy.decisions.request_deadline import RequestDeadline


def by_affinity(preferred: Backend | None, name: str, settings: Settings) -> str:
    """Return a sentence about the affinity: on which backend it keeps the client, or that it knows no backend for the client."""
    if name == STICKY and preferred is not None:
        return f"Federation and remote read keep this client on {preferred.name} as long as it is in service."
    if preferred is not None:
        return f"The affinity {name} keeps this client on {preferred.name}."
    if not settings.affinity_options:
        return "There is no affinity."
    return f"The affinity ({', '.join(settings.affinity_options)}) knows no server for this client."


def by_strategy(selection: Selection, settings: Settings) -> str:
    """Return a sentence about the backends that the routing strategy selects."""
    names = [backend.name for backend in selection.selected]
    choice = f"selects {listing(names)}" if names else "selects no server, so the best standby is tried"
    degraded = f" ({selection.choice.degraded})" if selection.choice.degraded else ""
    return f"The routing strategy {settings.routing_strategy} {choice}{degraded}."


def by_standing(observations: Sequence[Observation]) -> list[str]:
    """Return sentences about the standing of backends: one for all viable backends, and one for each other backend."""
    viable = [o.backend.name for o in observations if o.standing is Standing.VIABLE]
    others = [o for o in observations if o.standing is not Standing.VIABLE]
    sentences = [f"{listing(viable)} {'is' if len(viable) == 1 else 'are'} viable."] if viable else []
    return sentences + [f"{o.backend.name} is {o.standing.name.lower().replace('_', ' ')}: {o.why}." for o in others]


def by_data(selection: Selection, unfit: Collection[Backend]) -> list[str]:
    """
    Return sentences about backends that are tried last because of their data.

    :param unfit: the backends that could not read the data of the query lately.
    """
    unreadable = [f"{each.name} could not read the data of this query, and is tried last for it." for each in unfit]
    lacking = [o for o in selection.observations if o.lack is not None]
    return unreadable + [f"{o.backend.name} {o.lack}, and is tried last for newest data." for o in lacking]


def retries(deadline: RequestDeadline, most: int, after: tuple[Backend, ...], *, in_parts: bool) -> str:
    """Return a sentence that says whether a failed request is tried on other servers, on how many at most, and on which first."""
    if not deadline.read:
        return "It may change something, so it is sent once; only if nothing of it was sent is another server tried."
    if not most:
        return "It is a read, but no other server is tried if this one fails."
    others = "one other server" if most == 1 else f"up to {most} other servers"
    if in_parts:
        return f"It is a read: a part that fails is tried on {others}, first on the one that lacks least of its steps."
    order = f"next on {after[0].name}" if after else "first on another selected one, at random"
    return f"It is a read: if it fails it is tried on {others}, {order}."


def deadline_of(deadline: RequestDeadline) -> str:
    """Return a sentence about the time until which the response must begin."""
    own = "" if deadline.asked is None else f" (the query has a timeout of {duration(deadline.asked)})"
    return f"The response must begin within {duration(deadline.ends_at - deadline.began)}{own}."
