"""The choice of servers for one request, with all that is needed to change it after a failure. Pure; frozen values."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from mpp.core.model import Backend
from mpp.coverage.planning import plan as planning
from mpp.coverage.planning.plan import Part, QueryPlan
from mpp.coverage.planning.query_lacks import QueryLacks
from mpp.coverage.planning.steps import Steps


@frozen
class RequestPlan:
    """
    The choice of servers for a request whose data some servers lack.

    :ivar lacks: the request's data that each server lacks.
    :ivar steps: the steps of the request.
    :ivar plan: the server that answers each step.
    :ivar own: the server that would have answered the request if no server lacked anything.
    :ivar candidates: the servers among which the plan chose, and by which its warning was worded; empty if neither was done.
    """

    lacks: QueryLacks
    steps: Steps
    plan: QueryPlan
    own: Backend
    candidates: tuple[Backend, ...] = ()

    @property
    def backend(self) -> Backend:
        """The server that answers the whole request, or its first steps."""
        return self.plan.parts[0].backend

    @property
    def differs(self) -> bool:
        """Whether a server lacks data of the request that another one has; else the plan is only for the warning."""
        return self.lacks.affected.overlaps(self.steps.start, self.steps.end)

    @property
    def is_divided(self) -> bool:
        """Whether several servers answer the request, each some of its steps."""
        return len(self.plan.parts) > 1

    @property
    def is_spliced(self) -> bool:
        """Whether mpp makes the response: it joins the responses of several servers, or adds a warning."""
        return self.is_divided or bool(self.plan.warning)

    @property
    def is_material(self) -> bool:
        """Whether the request's own server lacks so much of what it reads that the client would be warned."""
        return bool(self.lacks.material(self.own).within(self.steps.start, self.steps.end))

    def ranked(self, candidates: Sequence[Backend]) -> list[Backend]:
        """Sort servers by the amount of the request's data that they lack, least first; equal ones keep the given order."""
        return planning.ranked(self.lacks, self.steps, candidates)

    def lacks_no_more(self, backend: Backend, than: Backend) -> bool:
        """Return whether a server counts as good as another one at every step of the request."""
        return planning.lacks_no_more(self.lacks, self.steps, backend, than)

    def part(self, number: int) -> RequestPlan:
        """Return the plan for the steps of one part, which the part's server answers alone."""
        part = self.plan.parts[number]
        count = part.last - part.first + 1
        steps = Steps(self.steps.time(part.first), self.steps.step, count)
        return RequestPlan(self.lacks, steps, QueryPlan((Part(part.backend, 0, count - 1),)), part.backend)

    def undivided(self, candidates: Sequence[Backend]) -> RequestPlan:
        """Return the plan in which one server answers all steps."""
        plan = planning.plan(self.lacks, self.steps, candidates, self.own, splice=False)
        return evolve(self, plan=plan, candidates=tuple(candidates))

    def moved(self, backend: Backend, candidates: Sequence[Backend]) -> RequestPlan:
        """Return the plan in which a given server answers all steps, with the warning that this needs."""
        whole = (Part(backend, 0, self.steps.count - 1),)
        return evolve(self, plan=self._warned(whole, candidates), candidates=tuple(candidates))

    def warning(self, answered_by: Sequence[Backend], candidates: Sequence[Backend]) -> str:
        """
        Return a line for the client about data that is missing in the response; empty if none is.

        :param answered_by: the server that has answered each part, in the order of the parts; after a failure it is another one
            than planned.
        """
        parts = tuple(evolve(part, backend=by) for part, by in zip(self.plan.parts, answered_by, strict=True))
        return self._warned(parts, candidates).warning

    def _warned(self, parts: tuple[Part, ...], candidates: Sequence[Backend]) -> QueryPlan:
        if (parts, tuple(candidates)) == (self.plan.parts, self.candidates):
            return self.plan
        return planning.with_warning(self.lacks, self.steps, parts, candidates)

    def why(self) -> str:
        """Return the reason why the request's own server does not answer the whole request, one line; empty if it does."""
        return planning.why(self.lacks, self.steps, self.own, self.plan.parts)

    def sentences(self) -> list[str]:
        """Return the plan in sentences: the lack of the request's own server, the server of each part, the client's warning."""
        found = [f"{why}."] if (why := self.why()) else []
        for part in self.plan.parts if self.is_divided else ():
            times = planning.from_to(self.steps.time(part.first), self.steps.time(part.last))
            found.append(f"{part.backend.name} answers {part.last - part.first + 1} of {self.steps.count} steps, from {times}.")
        if self.plan.warning:
            found.append(f'The response gets a warning: "{self.plan.warning}".')
        return found
