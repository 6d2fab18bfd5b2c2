"""The contract of an installation: commands, plugin, entry points, exit statuses, signals, files outside ``mpp/``."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterable, Iterator
from contextlib import chdir
from pathlib import Path

from setuptools import Distribution
from twisted.application.service import ServiceMaker
from zope.interface import Interface
from zope.interface.interface import Method

from mpp.app import extensions
from mpp.core.errors import ConfigError
from mpp.core.interfaces import IAffinity, IStrategy
from tests.contract import source

ROOT = Path(__file__).parents[2]


def lines() -> set[str]:
    """Return a line for each of them."""
    return {
        *_entry_points(),
        *(f"twistd plugin: {name}" for name in _plugins()),
        *(f"entry point group: {group}" for group in _groups()),
        *(f"extension: {each}" for each in (*_methods(IStrategy), *_methods(IAffinity))),
        *(f"exit status: {status}" for status in source.numbers_passed(("SystemExit", "sys.exit", "os._exit"))),
        *(f"signal: {name}" for name in _signals()),
        *(f"file of the wheel: {name}" for name in files()),
    }


def files() -> set[str]:
    """Return the files that the wheel has outside of ``mpp/``, besides its own metadata."""
    distribution = _distribution()
    with chdir(ROOT):
        build = distribution.get_command_obj("build_py")
        build.ensure_finalized()
        found = {os.path.relpath(path, build.build_lib) for path in build.get_outputs(include_bytecode=False)}
    beside = (*(distribution.data_files or ()), *(distribution.scripts or ()))
    return {str(path) for path in (*found, *beside) if Path(str(path)).parts[0] != "mpp"}


def _distribution() -> Distribution:
    """Run ``setup.py``, up to where it would do something."""
    # setuptools puts it in place of Python's own, which later releases do not have.
    from distutils.core import run_setup

    with chdir(ROOT):
        return run_setup("setup.py", ["--quiet", "build"], stop_after="init")


def _entry_points() -> Iterator[str]:
    for group, written in (_distribution().entry_points or {}).items():
        for line in written:
            # The function that it leads to is not what users hold on to.
            yield f"{group.removesuffix('s').replace('_', ' ')}: {line.partition('=')[0].strip()}"


def _plugins() -> list[str]:
    """Return the names of the plugins of the checkout; an import would find the installed ones."""
    made = runpy.run_path(str(ROOT / "twisted" / "plugins" / "mpp_plugin.py"))
    return [each.tapname for each in made.values() if isinstance(each, ServiceMaker)]


def _groups() -> set[str]:
    """Return the groups of entry points that are looked at for a strategy, and for an affinity."""
    asked: set[str] = set()

    def record(group: str) -> Iterable[extensions.EntryPoint]:
        asked.add(group)
        return ()

    for build in (extensions.build_strategy, lambda name, **more: extensions.build_affinities((name,), (), **more)):
        try:
            build("elsewhere", entry_points=record)
        except ConfigError:
            continue
    return asked


def _methods(interface: type[Interface]) -> Iterator[str]:
    """Return the methods and attributes that an extension has to have, as it has to have them."""
    for name, description in interface.namesAndDescriptions():
        signature = description.getSignatureString() if isinstance(description, Method) else ""
        yield f"{interface.__name__}.{name}{signature}"


def _signals() -> set[str]:
    """Return the signals that mpp knows; Twisted's own are the ones that end the process."""
    return {
        name
        for module in source.modules()
        for node in module.nodes
        for name in [getattr(node, "attr", "")]
        if name.startswith("SIG") and not name.startswith("SIG_")
    }
