"""Configurations, compared by a hash."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.probing.config_hash import MAX_LINE, ConfigHasher
from mpp.selection.probing.external_labels import MAX_SECTION

CONFIG = (Path(__file__).parents[2] / "recorded" / "prometheus-3.5.3-config.json").read_bytes()


def fingerprint(*pieces: bytes) -> str:
    """Return the hash of a page that comes in these pieces."""
    made = ConfigHasher()
    for piece in pieces:
        made.feed(piece)
    return made.finish().hash


class FingerprintTests(SynchronousTestCase):
    """What makes two configurations equal."""

    def test_replicas_are_equal(self) -> None:
        """Servers that differ in their external labels, or of which one has none, have the same configuration."""
        bare = CONFIG.replace(rb"  external_labels:\n    prometheus_replica: a\n    zone: x\n", b"")
        self.assertNotEqual(len(bare), len(CONFIG))
        for same in (CONFIG.replace(b"replica: a", b"replica: b"), CONFIG.replace(b"zone: x", b"rack: 7"), bare):
            self.assertEqual(fingerprint(same), fingerprint(CONFIG))

    def test_anything_else_differs(self) -> None:
        """Another interval, job or target is another configuration."""
        for old, new in ((b"interval: 1s", b"interval: 2s"), (b"gogc: 75", b"gogc: 50"), (b"19353", b"19354")):
            self.assertNotEqual(fingerprint(CONFIG.replace(old, new)), fingerprint(CONFIG))

    def test_pieces_do_not_count(self) -> None:
        """However a page is cut into pieces, its hash is the same."""
        for size in (1, 2, 7, 100):
            pieces = [CONFIG[at : at + size] for at in range(0, len(CONFIG), size)]
            self.assertEqual(fingerprint(*pieces), fingerprint(CONFIG))

    def test_endless_line_is_not_held(self) -> None:
        """A page without line ends is hashed as it comes."""
        made = ConfigHasher()
        for _ in range(10):
            made.feed(b"x" * MAX_LINE)
            self.assertLessEqual(len(made._rest), MAX_LINE)
        self.assertNotEqual(made.finish().hash, fingerprint(b"x" * MAX_LINE))


class ExternalLabelsTests(SynchronousTestCase):
    """The labels that servers are told apart by."""

    def labels(self, page: bytes, size: int) -> tuple[tuple[str, str], ...] | None:
        """Return the external labels of a page that comes in pieces of so many bytes."""
        made = ConfigHasher()
        for at in range(0, len(page), size):
            made.feed(page[at : at + size])
        return made.finish().labels

    def test_labels_of_a_real_server(self) -> None:
        """The labels are read beside the hash, however the page is cut; a configuration without any has none."""
        for size in (1, 7, 100_000):
            self.assertEqual(self.labels(CONFIG, size), (("prometheus_replica", "a"), ("zone", "x")))
        bare = CONFIG.replace(rb"  external_labels:\n    prometheus_replica: a\n    zone: x\n", b"")
        self.assertEqual(self.labels(bare, 100), ())

    def test_endless_section(self) -> None:
        """Of a section that is too long nothing is kept, and the labels are unknown."""
        made = ConfigHasher()
        made.feed(rb"  external_labels:\n")
        for _ in range(10_000):
            made.feed(rb"    name: value\n")
        self.assertLess(len(made._section), 2 * MAX_SECTION)
        self.assertIsNone(made.finish().labels)
