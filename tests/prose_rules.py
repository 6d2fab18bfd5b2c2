"""
Judges prose by the rules in ``tests/prose_words.txt``: which words are no plain technical English, and how a docstring begins.

``python -m tests.prose_rules`` prints what `tests.test_prose` would complain about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from tests.prose import Prose, all_prose

FEWEST_WORDS = 4
"""Of a first sentence; fewer only point to an interface."""

_QUOTED = re.compile(r"``[^`]*``|`[^`]*`")
_INTERFACE = re.compile(r"See `")
_SENTENCE_END = re.compile(r"(?<=[.:!?])\s")
_NO_NOUN = re.compile(r"\w+ (it|them|itself|(this|that|these|both|all|everything|one|some)(?=[.,;:]|$))\b")
_BEGINNING = r"(?:\A\s*|[.;:]\s+|\n\n\s*)"


@frozen
class Rules:
    """
    The content of ``tests/prose_words.txt``.

    :ivar words: pairs of a pattern and what to write instead.
    :ivar beginnings: words with which no docstring begins.
    :ivar verbs: words with which the docstring of a function may begin.
    """

    words: Sequence[tuple[re.Pattern[str], str]]
    beginnings: frozenset[str]
    verbs: frozenset[str]

    def faults(self, prose: Prose) -> Iterator[str]:
        """Yield each fault of a text as a line with file and line number."""
        plain = _QUOTED.sub(lambda match: re.sub(r"\S", "x", match.group()), prose.text)
        for pattern, instead in self.words:
            for match in pattern.finditer(plain):
                line = prose.line + plain.count("\n", 0, match.end())
                found = " ".join(match.group().split()).lstrip(".;: ")
                yield f"{prose.file}:{line}: {prose.kind}: {found!r}: write {instead}"
        if prose.kind in ("function", "class", "module"):
            for fault in self._of_beginning(prose):
                yield f"{prose.file}:{prose.line}: {prose.kind}: {fault}"

    def _of_beginning(self, prose: Prose) -> Iterator[str]:
        """Yield the faults of the first sentence of a docstring."""
        sentence = _SENTENCE_END.split(" ".join(prose.text.strip().split("\n\n")[0].split()))[0]
        if _INTERFACE.match(sentence):
            return
        words = sentence.split()
        first = words[0].rstrip(",.:;")
        if first in self.beginnings:
            yield f"begins with {first!r}: {sentence!r}"
        elif prose.kind == "function" and first not in self.verbs:
            yield f"no verb of tests/prose_words.txt at the beginning: {sentence!r}"
        elif prose.kind == "function" and _NO_NOUN.match(sentence):
            yield f"no noun after the verb: {sentence!r}"
        if len(words) < FEWEST_WORDS and prose.kind != "module":
            yield f"fewer than {FEWEST_WORDS} words: {sentence!r}"


def read_rules() -> Rules:
    """Return the rules in ``tests/prose_words.txt``."""
    sections: dict[str, list[str]] = {}
    for line in (Path(__file__).parent / "prose_words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            sections[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            sections[list(sections)[-1]].append(line)
    words = [line.partition("->") for line in sections["words"]]
    return Rules(
        [(_compile(pattern.strip()), instead.strip()) for pattern, _, instead in words],
        *(frozenset(" ".join(sections[name]).split()) for name in ("beginnings", "verbs")),
    )


def _compile(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of which ``^`` matches at the beginning of a sentence, and a blank also at the end of a line."""
    return re.compile(re.sub(r"^\^", lambda _: _BEGINNING, pattern).replace(" ", r"\s+"))


def all_faults() -> list[str]:
    """Return the faults of all prose of the project."""
    rules = read_rules()
    return [fault for prose in all_prose() for fault in rules.faults(prose)]


if __name__ == "__main__":
    print(*all_faults(), sep="\n")
