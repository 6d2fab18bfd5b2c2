"""Lines of the log: whatever they hold, they are lines."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogPublisher
from twisted.python import log
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.logs import format as logs
from mpp.core.model import Standing
from mpp.core.text import values

HOSTILE = 'a b="c"\\\n\r\tlevel=error \x00\x1b[31m\x7f\x85\x9b\u2028\u2029\ud800é🙂\u202egnp.exe\u2066\U000e0041'

LINE_ENDS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def read_logfmt(line: str) -> dict[str, str]:
    """Read a line as a reader of logfmt does: bare values, and quoted ones with the escapes of JSON."""
    found, rest = {}, line
    while rest:
        match = re.match(r'([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|[^\s"=]*)(?: |$)', rest)
        assert match, f"no field begins at {rest!r}"
        assert match[1] not in found, f"{match[1]} is there twice"
        found[match[1]] = json.loads(match[2]) if match[2].startswith('"') else match[2]
        rest = rest[match.end() :]
    return found


def fields_of_warning(format: str, **own: Any) -> dict[str, logs.Value]:
    """Return the log fields of an event of level warn."""
    events: list[Any] = []
    Logger("mpp.test", observer=LogPublisher(events.append)).warn(format, **own)
    return logs.fields({**events[0], "log_time": 1700000000.25})


def failed(why: str) -> Failure:
    """Return a failure that was raised."""
    try:
        raise ValueError(why)
    except ValueError:
        return Failure()


class FieldsTests(SynchronousTestCase):
    """The log fields of an event."""

    def test_event_has_time_level_message_and_origin(self) -> None:
        """An event has its time, level, message and origin, then what it carries."""
        self.assertEqual(
            fields_of_warning("{backend} is well", backend="a:9090", standing=Standing.NOT_READY, away=1.5, count=2, well=False),
            {
                "ts": "2023-11-14T22:13:20.250Z",
                "level": "warn",
                "msg": "a:9090 is well",
                "component": "mpp",
                "backend": "a:9090",
                "standing": "not_ready",
                "away": 1.5,
                "count": 2,
                "well": False,
            },
        )

    def test_nothing_twice_and_nothing_empty(self) -> None:
        """What is all of the message, or says nothing, is no field of its own."""
        self.assertEqual(
            list(fields_of_warning("{change}", change="all is new", why="", at_least=None)), ["ts", "level", "msg", "component"]
        )

    def test_own_names_do_not_hide_common_ones(self) -> None:
        """A field of an event that is called like one that every line has keeps out of its way."""
        found = fields_of_warning("x", msg="of joy", ts=3, stack="of hay")
        self.assertEqual((found["msg"], found["msg_"], found["ts_"], found["stack_"]), ("x", "of joy", 3, "of hay"))
        self.assertIn("a_b_c", fields_of_warning("x", **{"a b=c": 1}))

    def test_failure_has_its_error_and_traceback(self) -> None:
        """A failure has its error in a word, and its traceback."""
        events: list[Any] = []
        logger = Logger("mpp.test", observer=LogPublisher(events.append))
        logger.failure("Bug in {what}", failed("no such thing"), what="a test")
        found = logs.fields(events[0])
        self.assertEqual((found["level"], found["msg"], found["err"]), ("error", "Bug in a test", "ValueError: no such thing"))
        self.assertTrue(str(found["stack"]).startswith("Traceback (most recent call last):\n"))
        self.assertTrue(str(found["stack"]).endswith("ValueError: no such thing"))
        for render in logs.RENDERERS.values():
            self.assertNotRegex(render(found), LINE_ENDS)

    def test_older_way_of_logging(self) -> None:
        """What is logged in Twisted's older way is told like everything else; a traceback once."""
        events: list[Any] = []
        publisher = log.LogPublisher(publishPublisher=LogPublisher(events.append))
        publisher.msg("Starting", "x", system="-", printed=1)
        publisher.msg(failure=failed("broken"), why="Unhandled", isError=1)
        first, second = (logs.fields(event) for event in events)
        self.assertEqual({**first, "ts": ""}, {"ts": "", "level": "info", "msg": "Starting x", "component": "twisted"})
        self.assertEqual((second["msg"], second["err"], second["level"]), ("Unhandled", "ValueError: broken", "error"))

    def test_value_that_cannot_be_shown(self) -> None:
        """A value whose own code is broken does not keep the line from being written."""

        class Broken:
            def __str__(self) -> str:
                raise RuntimeError("no")

            __repr__ = __str__

        self.assertIn("Broken", str(fields_of_warning("x", it=Broken())["it"]))

    def test_long_values_are_bounded(self) -> None:
        """No value is longer than what journald and Docker leave in one piece."""
        found = fields_of_warning("{it}", it="x" * 100_000, other="y" * 100_000)
        self.assertEqual([len(str(found[name])) for name in ("msg", "other")], [logs.MAX_VALUE] * 2)

    def test_talkative_client(self) -> None:
        """That Twisted's client opens a connection is told to who debugs; its warnings to everyone."""
        events: list[Any] = []
        logger = Logger("twisted.web.client._HTTP11ClientFactory", observer=LogPublisher(events.append))
        logger.info("Starting factory")
        logger.warn("Strange")
        self.assertEqual([logs.level_of(event) for event in events], ["debug", "warn"])

    def test_levels_and_formats_are_those_of_the_options(self) -> None:
        """The levels are those that may be configured, and so are the formats."""
        for level in logs.LEVELS:
            self.assertEqual(values.parse_log_level(level.upper()), level)
        for form in logs.RENDERERS:
            self.assertEqual(values.parse_log_format(form), form)
        self.assertRaises(ValueError, values.parse_log_level, "loud")
        self.assertRaises(ValueError, values.parse_log_format, "xml")


class RenderersTests(SynchronousTestCase):
    """How a line is written."""

    def test_words_are_bare_and_all_else_quoted(self) -> None:
        """Words stand as they are, all else in quotes."""
        self.assertEqual(
            logs.logfmt({"a": "word:9090", "b": "two words", "c": "", "d": 'a"b', "e": "x=y", "f": 0.5, "g": True, "h": "é"}),
            'a=word:9090 b="two words" c="" d="a\\"b" e="x=y" f=0.5 g=true h=é',
        )

    def test_numbers_are_json_numbers(self) -> None:
        """Numbers are numbers, and what JSON has no word for is text."""
        found = {
            name: logs.plain(value) for name, value in {"a": 1, "b": 0.25, "c": float("nan"), "d": False, "e": b"\xff"}.items()
        }
        self.assertEqual(json.loads(logs.json_line(found)), {"a": 1, "b": 0.25, "c": "nan", "d": False, "e": "\\xff"})

    def test_hostile_text(self) -> None:
        """Text can neither begin a line, nor forge a field, nor speak to a terminal, and is not lost."""
        found = fields_of_warning("{query}!", query=HOSTILE)
        for name, render in logs.RENDERERS.items():
            with self.subTest(format=name):
                line = render(found)
                self.assertNotRegex(line, "[\x00-\x1f\x80-\x9f\u2028\u2029\ud800-\udfff]")
                line.encode("utf-8")
                read = read_logfmt(line) if name == "logfmt" else json.loads(line)
                self.assertEqual(list(read), list(found))
                self.assertEqual((read["query"], read["level"]), (HOSTILE, "warn"))

    def test_what_hides_is_shown(self) -> None:
        """No character that a reader cannot see, or that changes the order of others, stands in a line as it is."""
        marks = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        for number in (*range(0x3000), *range(0xD800, 0x10000), *range(0xE0000, 0xE0080)):
            character = chr(number)
            kind, order = unicodedata.category(character), unicodedata.bidirectional(character)
            if kind in ("Cc", "Cs", "Zl", "Zp") or order in marks or number in (0x61C, 0x200E, 0x200F, 0xFEFF):
                for name, render in logs.RENDERERS.items():
                    line = render({"query": f"a{character}b"})
                    self.assertNotIn(character, line, f"{name} {number:x}")
                    read = read_logfmt(line) if name == "logfmt" else json.loads(line)
                    self.assertEqual(read, {"query": f"a{character}b"})

    def test_other_scripts(self) -> None:
        """Words of other scripts stand as they are."""
        words = ["größe", "数据", "שלום", "مرحبا", "🙂"]
        self.assertEqual([logs.logfmt({"a": word}) for word in words], [f"a={word}" for word in words])

    @given(st.dictionaries(st.text(max_size=10), st.text(max_size=30) | st.binary(max_size=30) | st.floats() | st.integers()))
    def test_any_event_can_be_parsed_again(self, own: dict[str, Any]) -> None:
        """Whatever an event carries, a line can be read again, and says the same."""
        event = {**own, "log_time": 0.0, "log_format": "x", "log_namespace": "n"}
        # By this name the parent's log gets the fields of a worker's line.
        event.pop("log_told", None)
        found = logs.fields(event)
        line = logs.logfmt(found)
        self.assertNotRegex(line, LINE_ENDS)
        read = read_logfmt(line)
        self.assertEqual(list(read.values()), [str(value) for value in found.values()])
        self.assertEqual(json.loads(logs.json_line(found)), found)
