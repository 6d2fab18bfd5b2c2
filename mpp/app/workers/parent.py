"""The role of a parent, which connects its program to the workers, and each worker's share of the settings."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from mpp.app.client_side import Role
from mpp.app.program import Program
from mpp.app.workers.codec import packed
from mpp.app.workers.interfaces import ParentProgram
from mpp.app.workers.metrics_sum import families
from mpp.app.workers.shared_sockets import SocketOpener
from mpp.app.workers.supervisor import WorkerSupervisor
from mpp.config.options import OPTIONS
from mpp.core.settings import NO_DISCOVERY, Settings
from mpp.discovery.kinds.option import DROP, SHARE
from mpp.selection.service import SelectionService


def parent_of_workers(alone: Role[Program], reactor: Any) -> Role[Program]:
    """Return the role of a program whose clients are served by workers, and not by itself."""

    def supervisor(program: Program, selections: SelectionService) -> WorkerSupervisor:
        settings = program.settings
        made = WorkerSupervisor(settings.workers, encoded(settings), reactor, _parent_program(program, selections))
        program.addService(made)  # type: ignore[no-untyped-call]
        return made

    return evolve(alone, opener=SocketOpener(reactor), client_side=supervisor)


def _parent_program(program: Program, selections: SelectionService) -> ParentProgram:
    web_config, metrics = program.web_config, program.metrics
    return ParentProgram(
        selections,
        program.role.instance.token,
        addresses=program.backends.addresses,
        sources=program.backends.credentials.sources,
        status=program.admin_pages.status,
        config=program.admin_pages.config,
        record=program.backends.event_log.record,
        reload=program.reload,
        encoded=encoded,
        handover=lambda: None if web_config is None else web_config.handover,
        familiar=lambda verified: None if web_config is None else web_config.passwords.learn(verified),
        descriptors=lambda: [each.port.socket.fileno() for each in program.listeners.open],  # type: ignore[attr-defined]
        collect=lambda: families(metrics.registry.collect()),
        counted=lambda names: families(metrics.counted(names)),
    )


def workers_settings(settings: Settings) -> Settings:
    """Return the settings for one worker: without discovery; see ``per_worker`` of `mpp.discovery.kinds.option.Option`."""
    defaults = Settings()
    dropped = {option.field: option.of(defaults) for option in OPTIONS if option.per_worker == DROP}
    wholes = {option.field: option.of(settings) for option in OPTIONS if option.per_worker == SHARE}
    shares = {name: whole and max(1, whole // settings.workers) for name, whole in wholes.items()}
    return evolve(settings, discovery=NO_DISCOVERY, **dropped, **shares)


def encoded(settings: Settings) -> str:
    """Return one worker's settings as text that only a worker of this parent reads, see `mpp.app.workers.codec.packed`."""
    return packed(workers_settings(settings))
