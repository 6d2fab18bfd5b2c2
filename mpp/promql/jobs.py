"""
Which scrape jobs a selector's matchers for the label ``job`` let through. Pure; knows no other module of mpp.

Regular expressions come from clients, and Python's `re` needs exponential time for some. So none is compiled: an expression is
understood if it is a list of literals, each with at most a ``.*`` or ``.+`` at its end, as Grafana's variables are; any other
restricts nothing. What is returned is therefore never less than what a server would select.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class JobCondition:
    """
    One matcher that was understood.

    :ivar names: names that it matches.
    :ivar prefixes: beginnings of names that it matches (``api.*``).
    :ivar longer: beginnings of names that it matches if something follows (``api.+``).
    :ivar negative: it lets through what it does not match (``!=``, ``!~``).
    """

    names: frozenset[str]
    prefixes: tuple[str, ...] = ()
    longer: tuple[str, ...] = ()
    negative: bool = False

    def lets(self, job: str) -> bool:
        """Return whether a job with this name is let through."""
        return self.matches(job) is not self.negative

    def matches(self, job: str) -> bool:
        """Return whether the name equals or matches the matcher's value."""
        return (
            job in self.names
            or job.startswith(self.prefixes)
            or any(len(job) > len(prefix) and job.startswith(prefix) for prefix in self.longer)
        )


@frozen
class JobMatchers:
    """
    The matchers of one selector for the label ``job``.

    :ivar conditions: those that restrict the jobs; all of them have to let a job through.
    """

    conditions: tuple[JobCondition, ...] = ()

    def select(self, jobs: frozenset[str]) -> frozenset[str]:
        """
        Return those of some jobs that the samples may come from.

        If none is let through, all are returned: then the label does not say where the samples come from, as with those of a
        Pushgateway or of a recording rule, which have any value of ``job``.

        :param jobs: the jobs of all servers.
        """
        if not self.conditions:
            return jobs
        selected = [job for job in jobs if all(condition.lets(job) for condition in self.conditions)]
        return frozenset(selected) if selected else jobs

    def names(self, job: str) -> bool:
        """Return whether a job is asked for by its name, or by an alternative that begins like it, and let through."""
        positive = [condition for condition in self.conditions if not condition.negative]
        return bool(positive) and all(condition.lets(job) for condition in self.conditions)


ALL_JOBS = JobMatchers()
"""No matcher that restricts the jobs."""
