"""
The description of a kind of discovery source: all that the rest of mpp knows about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from attrs import evolve, field, frozen

from mpp.core.settings import Settings
from mpp.discovery.kinds.option import Option

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator

S = TypeVar("S")


@frozen
class SourceContext:
    """
    The parts of the program that a locator may need besides the settings of its kind.

    :ivar settings: the settings of the whole program with which the locator is built. A reload may keep the locator, so it may
        use only the ones that its kind names in ``depends_on``.
    :ivar interval: returns the active selection interval in seconds, which a reload may change.
    :ivar environ: mpp's environment: in a pod, Kubernetes sets the API server's address in it.
    :ivar name_servers: returns the DNS client; always the same one, because it watches ``resolv.conf`` until the program ends.
    """

    settings: Settings
    reactor: Any
    environ: Mapping[str, str] = field(repr=False)
    name_servers: Callable[[], Any]
    interval: Callable[[], float]


@frozen
class SourceKind(Generic[S]):
    """
    A kind of discovery source.

    :ivar name: the name of its locators in logs, metrics, and ``locators:`` of the configuration file.
    :ivar settings: the class of its settings; without arguments it makes the defaults, which configure no source.
    :ivar options: its options. Each is given with the name of a field of ``settings`` as its ``field``; this class puts the
        kind's name and a dot in front of that, and sets the option's ``source`` to ``settings``.
    :ivar make: builds a locator from its name, its settings and the context; raises `mpp.core.errors.ConfigError` if these
        settings can never work. It imports the locator's module only when called, because the import is slow.
    :ivar several: the name of the field of the settings that lists sources, if each of these gets a locator of its own; otherwise
        empty.
    :ivar source: returns the normal form of the path, URL or name of one source, by which ``locators:`` of the configuration file
        may name it; None if the kind has no such names.
    :ivar depends_on: fields of the general settings; the locator is built again when one of them changes.
    :ivar is_configured: whether settings configure a source; by default, when an option with ``locates`` has a value.
    :ivar file_problems: returns what is wrong in the files that list servers, one line each with the file's name; for
        ``--check-config``, because at a start it is only logged.
    :ivar secret_files: returns the paths of all files with secrets that the settings of this kind name.
    """

    name: str
    settings: type[S]
    options: tuple[Option, ...]
    make: Callable[[str, S, SourceContext], ILocator]
    several: str = ""
    source: Callable[[str], str] | None = None
    depends_on: tuple[str, ...] = ()
    is_configured: Callable[[S], bool] | None = None
    file_problems: Callable[[S], Iterable[str]] = lambda own: ()
    secret_files: Callable[[S], Iterable[str]] = lambda own: ()

    def __attrs_post_init__(self) -> None:
        options = (evolve(option, field=f"{self.name}.{option.field}", source=self.settings) for option in self.options)
        object.__setattr__(self, "options", tuple(options))

    @property
    def locating(self) -> tuple[Option, ...]:
        """The options that turn this kind of source on."""
        return tuple(option for option in self.options if option.locates)

    def parts(self, own: S) -> list[tuple[str, str, S]]:
        """
        Return the name, the source and the settings of each locator to build; an empty list if no such source is configured.

        The names are unique: ``dns`` for a single locator, otherwise ``dns-1``, ``dns-2``.
        """
        is_configured = self.is_configured or (lambda own: any(option.value_in(own) for option in self.locating))
        if not is_configured(own):
            return []
        if not self.several or self.source is None:
            return [(self.name, "", own)]
        texts = getattr(own, self.several)
        parts: list[Any] = [evolve(cast(Any, own), **{self.several: (text,)}) for text in texts]
        names = [self.name if len(texts) == 1 else f"{self.name}-{number}" for number in range(1, len(texts) + 1)]
        return list(zip(names, map(self.source, texts), parts, strict=True))
