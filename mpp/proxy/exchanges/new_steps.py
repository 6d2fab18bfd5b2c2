"""Steps that servers were asked for, and the servers that have answered them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mpp.core.model import Backend
from mpp.core.scheduling.turns import Turns
from mpp.promql.matrix import Matrix
from mpp.promql.matrix_pieces import parsed
from mpp.proxy.answer import Answer
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions.caching import CacheableRequest, ExtentSource
from mpp.proxy.exchanges.subrequest import Subrequest


class NewSteps(NamedTuple):
    """
    Steps that servers were asked for, and the response.

    :ivar first: the first step.
    :ivar last: the last step (inclusive).
    :ivar body: the pieces of the response's body.
    :ivar matrix: the body, parsed; None if that was not needed yet.
    """

    first: int
    last: int
    answer: Answer
    body: Sequence[bytes]
    matrix: Matrix | None = None

    @property
    def sent_at(self) -> float:
        """When the server was asked, or before that, by the monotonic clock; see `asked_at` in `Answer`."""
        return self.answer.asked_at


async def parse(turns: Turns, body: Sequence[bytes]) -> Matrix:
    """
    Parse a response, with a turn of the reactor after each piece of a large one.

    :raise NotJoinable: it is no successful response with a matrix.
    """
    steps = parsed(body)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Matrix = end.value
            return found
        await turns.next()


async def parse_all(turns: Turns, subrequests: Sequence[Subrequest]) -> list[NewSteps]:
    """
    Parse the responses to subrequests.

    :raise NotJoinable: one is no successful response with a matrix.
    """
    found = []
    for each in tuple(subrequests):
        if each.answer is not None:
            body = each.answer.response.buffered
            found.append(NewSteps(each.first, each.last, each.answer, body, await parse(turns, body)))
    return found


def answered_by(context: ForwardContext, request: CacheableRequest, new: NewSteps) -> Iterator[tuple[ExtentSource, int, int]]:
    """Yield the servers that have answered new steps, each with its first and last step."""
    grid = request.grid
    ranges = new.answer.ranges or ((new.answer.backend, grid.time(new.first), grid.time(new.last)),)
    for backend, start, end in ranges:
        yield ExtentSource(backend, answers_id(context, backend)), grid.last_until(start), grid.last_until(end)


def answers_id(context: ForwardContext, backend: Backend) -> str:
    """Return a hash of the state of a server that decides its answers (version, flags, labels); empty if it is not known."""
    observation = context.selections.current.observed.get(backend)
    return "" if observation is None else observation.facts.answers_id
