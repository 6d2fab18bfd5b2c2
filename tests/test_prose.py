"""The language of the project, see `tests.prose_rules`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from tests.prose import Prose, all_prose, in_dashboard, in_python, in_yaml
from tests.prose_rules import all_faults, read_rules

RULES = read_rules()

MODULE = '''\
"""A module with an example of each text."""

LIMIT = 3
"""The limit of an attribute."""


class Example:
    """An example of a class."""

    @property
    def size(self):
        """The size of it all."""

    def run(self, log):
        """Run the example once."""
        # A comment that goes
        # on in its second line.
        log.info("backend {name} was <b>told</b> nothing", name="single")
'''

RULES_FILE = """\
# A comment of the rules.
groups:
  - rules:
      - alert: Down
        annotations: {summary: "A summary", description: "A description", runbook_url: "https://example.org"}
"""


def faults(text: str, kind: str = "comment") -> list[str]:
    """Return the faults of one text."""
    return list(RULES.faults(Prose("file.py", 1, kind, text)))


def found(prose: Iterable[Prose]) -> set[tuple[int, str, str]]:
    """Return texts by line and kind."""
    return {(each.line, each.kind, each.text) for each in prose}


class ProseTests(SynchronousTestCase):
    """All texts of the project."""

    def test_texts_are_plain_english(self) -> None:
        """Docstrings, comments, log messages, help, pages, alerts and dashboards are in plain technical English."""
        self.assertEqual(all_faults(), [])

    def test_all_read(self) -> None:
        """Texts of each kind are read, from each package and from what stands beside mpp."""
        read = {(each.file.rpartition("/")[0], each.kind) for each in all_prose()}
        for package in ("mpp/core", "mpp/app", "mpp/admin/status", "mpp/coverage/planning"):
            for kind in ("module", "class", "function", "attribute", "comment", "text"):
                self.assertIn((package, kind), read)
        for place in (
            ("contrib/prometheus", "text"),
            ("contrib/grafana", "text"),
            ("twisted/plugins", "module"),
            ("script", "comment"),
        ):
            self.assertIn(place, read)

    def test_messages_read(self) -> None:
        """A log message, the help of an option, that of a metric, a text of a page and an annotation are among them."""
        texts = "\n".join(each.text for each in all_prose() if each.kind == "text")
        for text in (
            "{backend} accepts no more than {count} connections at once; further requests wait for one of them",
            "show help",
            "Client requests, by the backend that responded and the status code.",
            "It serves as a last resort: no server is viable.",
            "Clients are served as long as another mpp runs beside it.",
        ):
            self.assertTrue(text in texts, text)


class ReaderTests(SynchronousTestCase):
    """Where texts are found."""

    def test_all_texts_of_a_module_are_found(self) -> None:
        """All texts of a module are found with their line; tags and single words are left out."""
        self.assertEqual(
            found(in_python("file.py", MODULE)),
            {
                (1, "module", "A module with an example of each text."),
                (4, "attribute", "The limit of an attribute."),
                (8, "class", "An example of a class."),
                (12, "attribute", "The size of it all."),
                (15, "function", "Run the example once."),
                (16, "comment", "A comment that goes\non in its second line."),
                (18, "text", "backend {name} was  told  nothing"),
            },
        )

    def test_comments_and_annotations_are_found(self) -> None:
        """Comments and annotations of alerts are found."""
        texts = {(1, "comment", "A comment of the rules."), (1, "text", "A summary"), (1, "text", "A description")}
        self.assertEqual(found(in_yaml("file.yml", RULES_FILE)), texts)

    def test_dashboard_texts_are_found(self) -> None:
        """Titles and descriptions are found at any depth."""
        source = json.dumps({"title": "A dashboard", "panels": [{"description": "A panel", "expr": "up"}]})
        self.assertEqual({text for _, _, text in found(in_dashboard("file.json", source))}, {"A dashboard", "A panel"})


PLANTED = {
    "docstring of a module": '"""The server who answers."""',
    "docstring of a class": 'class Server:\n    """A server that is told the time."""',
    "docstring of a function": 'def ask():\n    """Ask whoever is there for the time."""',
    "beginning of a docstring": 'def ask():\n    """Gives the time of the server."""',
    "docstring of an attribute": 'LIMIT = 3\n"""Those that are left."""',
    "comment": "x = 1  # Nobody needs it.",
    "log message": '_log.warn("{backend} tells {problem}", backend=backend, problem=problem)',
    "formatted text": 'raise ConfigError(f"{name} takes no {value} any more")',
    "help of an option": 'Option("--port", GENERAL, "the port that everyone connects to", parse_port)',
    "HELP of a metric": 'COUNTERS = {"mpp_requests": ("Requests of those that wait.", ("backend",))}',
    "text of a page": 'PAGE = "<p>It serves like a server that <em>is well</em></p>"',
}


class PlantedTests(SynchronousTestCase):
    """Faults that were put into each kind of text."""

    def test_fault_in_a_module_is_found(self) -> None:
        """A fault in any text of a module is found, once."""
        for kind, source in PLANTED.items():
            self.assertEqual(len([fault for each in in_python("file.py", source) for fault in RULES.faults(each)]), 1, kind)

    def test_fault_in_other_files_is_found(self) -> None:
        """So is a fault in a comment of a script or rule, in an annotation, and in a text of a dashboard."""
        dashboard = json.dumps({"panels": [{"title": "What runs"}]})
        planted = {
            "comment": in_yaml("file.yml", "# Somebody has to look."),
            "annotation": in_yaml("file.yml", "annotations: {summary: The certificate in force has expired}"),
            "dashboard": in_dashboard("file.json", dashboard),
        }
        for kind, texts in planted.items():
            self.assertEqual(len([fault for each in texts for fault in RULES.faults(each)]), 1, kind)


class RulesTests(SynchronousTestCase):
    """What is a fault."""

    def test_each_listed_word_is_found(self) -> None:
        """Each word of the list is found, also across lines and at the beginning of a sentence."""
        for text in (
            "Nobody answers.",
            "as somebody\nelse",
            "whoever asks",
            "like everyone else",
            "anybody may",
            "the client who asked",
            "of whom it asks",
            "the server and his state",
            "the client is told",
            "It tells the client.",
            "They take\nnote of it.",
            "a server that is well serves",
            "the certificate in force",
            "It begins anew.",
            "Those of a backend.",
            "It does not read any more.",
            "It begins. What is left is sent.",
            "sent: What was left",
            "It starts.\n\nHave the others stopped.",
            "It gives up.",
        ):
            self.assertEqual(len(faults(text)), 1, text)

    def test_each_word_is_planted(self) -> None:
        """Each pattern of the list finds something in these examples, so none has become useless."""
        examples = (
            "nobody somebody everybody anybody whoever who him told tell take note. It is well, unwell, in force, anew, those, "
            "any more, for ever, no telling, gives up. What is this. Have the rest. Who asks. "
        )
        for pattern, instead in RULES.words:
            self.assertTrue(pattern.search(examples), pattern.pattern)
            self.assertTrue(instead, pattern.pattern)

    def test_no_words(self) -> None:
        """What only looks like one of them is none; names in backticks do not count, nor do questions."""
        for text in ("as well as others", "This is well known.", "the whole", "`tell` and ``who`` are names", "What is asked?"):
            self.assertEqual(faults(text), [], text)

    def test_fault_names_its_place(self) -> None:
        """A fault names the file, the line, the word, and what to write instead."""
        self.assertEqual(
            faults("It serves\nas nobody else."), ["file.py:2: comment: 'nobody': write no backend, no client, no caller"]
        )

    def test_wrong_beginnings_are_found(self) -> None:
        """The docstring of a function begins with a verb and its object, others with a noun; none is shorter than four words."""
        for kind, text in (
            ("function", "Give the backends of a pool."),
            ("function", "The backends of a pool."),
            ("function", "Returns the backends of a pool."),
            ("function", "Whether the backends are ready."),
            ("function", "Return it with its former state."),
            ("function", "Ask again."),
            ("class", "Gives the backends of a pool."),
            ("class", "The backends."),
            ("module", "Says which backends are ready."),
        ):
            self.assertEqual(len(faults(text, kind)), 1, text)

    def test_good_beginnings(self) -> None:
        """A verb and a noun are enough, and three words if they point to an interface."""
        for kind, text in (
            ("function", "Return the backends of a pool."),
            ("function", "Return all that is left."),
            ("function", "See `ISelections`."),
            ("class", "The backends of a pool."),
            ("attribute", "In seconds."),
            ("module", "Parses it."),
        ):
            self.assertEqual(faults(text, kind), [], text)
