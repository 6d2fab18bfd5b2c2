"""
The directive ``mpp-options``: the reference of options, made from `mpp.config.options`.

It makes a section for each group of options, and an ``option`` (of Sphinx' standard domain) for each option, so that
``:option:`--retries``` anywhere in the documentation leads here and is an error if there is no such option.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from mpp.config.options import OPTIONS
from mpp.discovery.kinds.option import GROUPS, Option

_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_FLAGS = frozenset(option.flag for option in OPTIONS)


def label_of(chapter: str) -> str:
    """Return the label of the section that an option refers to by its title."""
    return re.sub(r"\W+", "-", chapter.lower()).strip("-")


def escaped(text: str) -> str:
    """Return text in which reStructuredText finds no markup but references to options."""
    text = re.sub(r"([*|`\\]|_\b)", r"\\\1", text)
    return _FLAG.sub(lambda found: f":option:`{found[0]}`" if found[0] in _FLAGS else f"``{found[0]}``", text)


def sections(*, linked: bool) -> str:
    """
    Return the reference in reStructuredText.

    :param linked: refer to other pages of the documentation; the man page stands alone.
    """
    lines: list[str] = []
    for group in GROUPS:
        lines += [group, "-" * len(group), ""]
        for option in OPTIONS:
            if option.group == group:
                lines += [*_entry(option, linked=linked), ""]
    return "\n".join(lines)


def _entry(option: Option, *, linked: bool) -> list[str]:
    written = option.flag if option.switch else f"{option.flag} {option.metavar}"
    names = ", ".join((written, option.short)) if option.short else written
    fields = []
    if option.env:
        fields.append(":Environment: " + ", ".join(f"``{name}``" for name in option.env))
    if option.default:
        fields.append(f":Default: ``{option.default}``")
    elif option.switch and option.field:
        fields.append(":Default: off")
    help = option.help[0].upper() + escaped(option.help[1:]) + "."
    if option.chapter:
        help += f" See :ref:`{label_of(option.chapter)}`." if linked else f' See "{option.chapter}" in the documentation.'
    return [f".. option:: {names}", "", f"   {help}", "", *(f"   {field}" for field in fields)]


class OptionsDirective(SphinxDirective):
    """``.. mpp-options::``"""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        linked = self.env.app.builder.name != "man"
        return self.parse_text_to_nodes(sections(linked=linked), allow_section_headings=True)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("mpp-options", OptionsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
