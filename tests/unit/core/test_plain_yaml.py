"""YAML that others wrote."""

from __future__ import annotations

from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.yaml import events as plain_yaml
from mpp.core.yaml.events import OtherScalar, PlainYAMLError, Table, as_typed, read_yaml

DEPTH = 8

NESTED = ("[" * 200_000, "{a: " * 50_000, "- " * 100_000, "? " * 100_000)
"""Texts that nest without end, whatever it is made of."""


def alias_bomb() -> str:
    """Return a short text whose list, written out, is long."""
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    return "\n".join(lines + [f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)])


def merge_bomb() -> str:
    """Return a short text whose mapping, merged, is large."""
    lines = ["a: &a0 {x: y}"]
    return "\n".join(lines + [f"k{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30)])


class PlainYAMLTests(SynchronousTestCase):
    """With libyaml, if it is there."""

    def read(self, text: str) -> Any:
        """Read a text, scalars as text."""
        return read_yaml(text, depth=DEPTH)

    def refused(self, text: str) -> PlainYAMLError:
        """Return why a text cannot be read."""
        return self.assertRaises(PlainYAMLError, self.read, text)

    def test_scalars_are_text(self) -> None:
        """Scalars are text, whatever YAML makes of them elsewhere; nothing is nothing, unless it has quotes."""
        value = self.read("---\na: [10:30, yes, 1.0, 2024-01-01, '~', ~]\nb: null\nc:\nd: ''\n...\n")
        self.assertEqual(value, {"a": ["10:30", "yes", "1.0", "2024-01-01", "~", None], "b": None, "c": None, "d": ""})

    def test_scalars_have_types_on_demand(self) -> None:
        """Scalars have their types on demand; keys are text, and so is what has quotes."""
        text = "on: [yes, False, 'no', 7, -7, 0, 1.5, null, ~, x, '', '7', !!str 7]\n"
        value = [True, False, "no", 7, -7, 0, 1.5, None, None, "x", "", "7", "7"]
        self.assertEqual(read_yaml(text, depth=DEPTH, scalar=as_typed), {"on": value})
        for other in ("10:30", "2024-01-01", "017", "0x1f", ".inf", "1_000", "9" * 100_000, "1" + ":1" * 50_000):
            self.assertEqual(read_yaml(other, depth=DEPTH, scalar=as_typed), OtherScalar(other))

    def test_repeated_key_may_be_reported(self) -> None:
        """A key that comes a second time can be told instead of refused; then its later value counts."""
        told: list[tuple[str, int]] = []
        value = read_yaml("a: 1\nb: 2\na: 3\n", depth=DEPTH, repeated=lambda key, line: told.append((key, line)))
        self.assertEqual((value, told), ({"a": "3", "b": "2"}, [("a", 3)]))

    def test_json_is_read_as_yaml(self) -> None:
        """JSON is YAML."""
        text = '{"a": [1, true, null, "x"]}'
        self.assertEqual(read_yaml(text, depth=DEPTH, scalar=as_typed), {"a": [1, True, None, "x"]})

    def test_empty_text_is_none(self) -> None:
        """A text of comments, or of nothing, is nothing."""
        for text in ("# nobody\n", "---\n", ""):
            self.assertIsNone(self.read(text))

    def test_empty_documents_at_the_end(self) -> None:
        """Documents without content may follow, as a ``---`` at the end of a file makes them; others may not."""
        for text in ("a: 1\n---\n", "a: 1\n---", "---\na: 1\n---\n# end\n---\n", "a: 1\n...\n---\n"):
            self.assertEqual(self.read(text), self.read("a: 1\n"), text)
        for text in ('a: 1\n---\n""\n', "a: 1\n---\n{}\n", "a: 1\n---\n---\nb: 1\n"):
            with self.assertRaises(PlainYAMLError) as caught:
                self.read(text)
            self.assertIn("a second document begins; expected one", str(caught.exception), text)

    def test_each_key_has_its_line(self) -> None:
        """Each key knows its line, at every depth."""
        value = self.read("# options\nport: 9090\nkube:\n  - name: a\n\n    port: b\n")
        self.assertIsInstance(value, Table)
        self.assertEqual(value.lines, {"port": 2, "kube": 3})
        self.assertEqual(value["kube"][0].lines, {"name": 4, "port": 6})

    def test_aliases_are_resolved(self) -> None:
        """Aliases stand for lists, mappings and text."""
        group = {"targets": ["a:1"], "labels": {"x": "a:1"}}
        text = "- &g {targets: &t [&a a:1], labels: {x: *a}}\n- *g\n- {targets: *t}\n"
        self.assertEqual(self.read(text), [group, group, {"targets": ["a:1"]}])

    def test_alias_bomb(self) -> None:
        """Aliases of aliases are refused before they stand for more than anyone can walk through; some are shared."""
        error = self.refused(alias_bomb())
        self.assertEqual((error.problem, error.line), ("aliases expand to too many values", 7))
        value = self.read("\n".join(alias_bomb().splitlines()[:4]))
        self.assertIs(value["k3"][0], value["k3"][8])

    def test_merge_bomb(self) -> None:
        """Merge keys are refused before anything is merged."""
        error = self.refused(merge_bomb())
        self.assertEqual((error.problem, error.line), ("merge keys (<<) are not supported", 2))

    def test_nested_without_end(self) -> None:
        """What nests without end stops nothing, whatever it is made of."""
        for text in NESTED:
            error = self.refused(text)
            self.assertEqual((str(error), error.line), ("line 1: nested too deeply", 1))

    def test_greatest_allowed_depth_is_read(self) -> None:
        """As deep as was allowed is not too deep."""
        self.read("[" * DEPTH + "]" * DEPTH)
        self.refused("[" * (DEPTH + 1) + "]" * (DEPTH + 1))

    def test_errors_name_their_line(self) -> None:
        """What is none, or more than is read here, is told with its line."""
        table = {
            "a: 1\n\tb: 2\n": "line 2: not YAML: found a tab; expected blanks, as YAML permits no tab there",
            "a:\n\tb: 2\n": "line 2: not YAML: found a tab; expected blanks, as YAML permits no tab there",
            "a: `x\ty`\n": "line 1: not YAML: found character",
            "- targets: [a:1\n": "line 2: not YAML: ",
            "- a: 1\n  a: 2\n": "line 2: a repeated key: a",
            "- s3cr3t@a: 1\n  s3cr3t@a: 2\n": "line 2: a repeated key",
            "? [a]\n: b\n": "line 1: a key must be plain text",
            "- *a\n": "line 1: an alias without an anchor: *a",
            "&a [*a]\n": "line 1: an alias without an anchor: *a",
            "[]\n---\n[]\n": "line 2: a second document begins; expected one",
            "a\0b": "not YAML: ",
        }
        for text, problem in table.items():
            error = self.refused(text)
            self.assertTrue(str(error).startswith(problem), (text, str(error)))
            self.assertNotIn("s3cr3t", str(error))

    def test_problem_quotes_nothing(self) -> None:
        """The problem alone is fit to be shown, whatever the text holds."""
        for text in ("s3cr3t: 1\ns3cr3t: 2\n", "a: *s3cr3t\n", "s3cr3t:\n\tx: s3cr3t\n", '"\\s3cr3t"', "%s3cr3t\n"):
            self.assertNotIn("s3cr3t", self.refused(text).problem)


class WithoutLibyamlTests(PlainYAMLTests):
    """The same without libyaml."""

    def setUp(self) -> None:
        self.patch(plain_yaml, "_LOADER", yaml.SafeLoader)
