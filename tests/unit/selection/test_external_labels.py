"""The external labels of a server, as its configuration page shows them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.probing.external_labels import parse


class ParseTests(SynchronousTestCase):
    """What is made of the section."""

    def test_label_values_are_texts(self) -> None:
        """Values are texts, whatever their type would be, with quotes and JSON's escapes or without."""
        for written, value in [
            (b"a", "a"),
            (b"1", "1"),
            (b"true", "true"),
            (rb"\"a: b\"", "a: b"),
            (b"'it''s'", "it's"),
            (rb"\u003cnil\u003e", "<nil>"),
            ("Zürich".encode(), "Zürich"),
        ]:
            self.assertEqual(parse(b"  external_labels:\n    zone: %b\n" % written), (("zone", value),), written)

    def test_labels_are_ordered_by_name(self) -> None:
        """Labels come by name."""
        self.assertEqual(parse(b"  external_labels:\n    b: x\n    a: y\n"), (("a", "y"), ("b", "x")))

    def test_missing_section_means_no_labels(self) -> None:
        """A configuration without the section has no labels."""
        self.assertEqual(parse(b""), ())

    def test_what_cannot_be_read_is_unknown(self) -> None:
        """A section that is no YAML, no mapping, or no JSON text makes the labels unknown."""
        for section in (
            b"  external_labels: [\n",
            b"  external_labels: a\n",
            b"  external_labels:\n",
            b'"',
            b"\xff",
            b"[" * 10_000,
        ):
            self.assertIsNone(parse(section), section[:40])

    def test_what_cannot_be_shown(self) -> None:
        """Names and values are cut to one line that can be shown, and different ones stay different."""
        first, second = (parse(b"  external_labels:\n    a: %b\n" % (b"x" * 5000 + end)) for end in (b"1", b"2"))
        assert first is not None and second is not None
        self.assertLess(len(first[0][1]), 130)
        self.assertNotEqual(first, second)
        (pair,) = (
            parse(
                rb"""  external_labels:
    a: \"x\\u001b[31m\"""".replace(rb"\n", b"\n")
            )
            or ()
        )
        self.assertTrue(pair[1].startswith("x[31m... ("), pair)

    def test_number_is_bounded(self) -> None:
        """Of very many labels 64 are kept."""
        section = b"  external_labels:\n" + b"".join(b"    a%d: b\n" % n for n in range(500))
        self.assertEqual(len(parse(section) or ()), 64)
