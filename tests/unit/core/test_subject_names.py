"""Tests of `mpp.core.text.subject_names`: the names of a certificate, read from its DER."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.text.subject_names import SubjectNames, read_subject_names
from tests.certificates import der, element, general_name, subject_alt_name

SAMPLE = der("DNS:a.example", "IP:10.0.0.1")


class ReadSubjectNamesTests(SynchronousTestCase):
    """What is read of a certificate."""

    def test_usable_names_are_read(self) -> None:
        """Host names, wildcards and addresses are read in their order, in lower case and without a trailing dot."""
        read = read_subject_names(der("DNS:Prom.Example", "IP:10.0.0.1", "DNS:*.lab.test.", "IP:::1", "DNS:under_score"))
        self.assertEqual(read.dns, ("prom.example", "*.lab.test", "under_score"))
        self.assertEqual(read.addresses, (bytes((10, 0, 0, 1)), bytes(15) + b"\1"))

    def test_names_that_make_no_sense_are_left_out(self) -> None:
        """A name that makes no sense is passed over, and the others count."""
        for bad in (
            *("DNS:", "DNS:.", "DNS:*", "DNS:*.lan", "DNS:*.*.x", "DNS:a.*.x", "DNS:f*.a.b", "DNS:*a.b.c", "DNS:a..b", "DNS:a b"),
            *("DNS:\xe9.example", "DNS:a\0.b", "DNS:a\n", "DNS:" + "a" * 64, "DNS:" + "a." * 127 + "a", "IP:hex:", "IP:hex:7f"),
            *("IP:hex:0a00000000", "URI:https://a.example/", "email:a@a.example", "ID:2a03"),
        ):
            self.assertEqual(read_subject_names(der(bad, "DNS:good.example")), SubjectNames(("good.example",)), bad)

    def test_a_certificate_without_the_extension_has_no_names(self) -> None:
        """Without a subjectAltName there is no name, whatever the subject says."""
        self.assertEqual(read_subject_names(der()), SubjectNames())

    def test_malformed_lists_are_refused(self) -> None:
        """A subjectAltName that is no list of names is an error, since none of it can be relied upon."""
        name = general_name("DNS:good.example")
        for raw in (
            b"",
            name,
            element(0x30, name) + b"\0",
            element(0x30, name)[:-1],
            b"\x30\x80" + name + b"\0\0",
            element(0x30, name + b"\x82"),
            element(0x30, name + b"\x82\x84\1"),
            element(0x30, name + b"\x9f\x21\1a"),
            element(0x30, element(0x82, b"a") + b"\x82\x05a"),
        ):
            self.assertRaises(ValueError, read_subject_names, der(raw=raw))

    def test_two_lists_are_refused(self) -> None:
        """A certificate with two subjectAltNames is refused: it may be read in two ways."""
        extension = element(0x30, bytes.fromhex("0603551d11") + element(0x04, subject_alt_name("DNS:a.example")))
        for number, expected in ((1, SubjectNames(("a.example",))), (2, None)):
            certificate = element(0x30, element(0x30, element(0xA3, element(0x30, extension * number))))
            if expected is not None:
                self.assertEqual(read_subject_names(certificate), expected)
            else:
                self.assertRaises(ValueError, read_subject_names, certificate)

    def test_long_lists_are_read(self) -> None:
        """A list whose length takes several bytes is read to its end."""
        names = [f"DNS:host-{number}.example" for number in range(5000)]
        self.assertEqual(len(read_subject_names(der(*names)).dns), 5000)

    def test_names_are_shown_in_one_short_line(self) -> None:
        """The names are shown in one short line."""
        many = SubjectNames(("a.example", "b.example"), (bytes((10, 0, 0, 1)), bytes(15) + b"\1", bytes(4)))
        self.assertEqual(str(many), "a.example, b.example, 10.0.0.1 and 2 more")
        self.assertEqual(str(SubjectNames()), "")

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_any_bytes(self, data: st.DataObject) -> None:
        """Whatever the bytes are, they are read or refused with a ValueError."""
        whole = bytearray(SAMPLE)
        for position in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
            whole[position] = data.draw(st.integers(0, 255))
        certificate = bytes(whole[: data.draw(st.integers(0, len(whole)))])
        with contextlib.suppress(ValueError):
            self.assertIsInstance(read_subject_names(certificate), SubjectNames)
