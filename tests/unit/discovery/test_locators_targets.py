"""Target groups."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend
from mpp.discovery import target_groups as targets
from mpp.discovery.target_groups import MAX_TARGETS, MAX_YAML_BYTES, parse_json, parse_yaml, read_groups, without_secrets

A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))


def urls(*addresses: object, **labels: object) -> list[str]:
    """Return the URLs that one group gives."""
    return [b.url for b in read_groups([{"targets": list(addresses), "labels": labels}]).backends]


class ReadGroupsTests(SynchronousTestCase):
    """What target groups mean."""

    def refused(self, groups: object) -> str:
        """Return why a list cannot be used."""
        return str(self.assertRaises(ValueError, read_groups, groups))

    def test_targets_of_all_groups_are_listed_once(self) -> None:
        """The targets of all groups are listed in order, each once."""
        groups = [{"targets": ["prom-b:9090", "prom-a:9090"], "labels": {"env": "x"}}, {"targets": ["PROM-B:9090"]}]
        self.assertEqual(read_groups(groups), targets.ParsedBackends((B, A), ()))

    def test_nothing_listed(self) -> None:
        """No groups, and groups without targets, are an empty list."""
        for groups in ([], [{}], [{"targets": [], "labels": {}}], [{"targets": None, "labels": None}]):
            self.assertEqual(read_groups(groups), targets.ParsedBackends((), ()))

    def test_scheme_and_prefix_come_from_labels(self) -> None:
        """Scheme and prefix come from labels; a target without a port has its scheme's, as in Prometheus."""
        table: list[tuple[dict[str, object], str]] = [
            ({}, "http://prom:80"),
            ({"__scheme__": "https"}, "https://prom:443"),
            ({"__scheme__": "HTTPS", "__path_prefix__": "/p/"}, "https://prom:443/p"),
            ({"__path_prefix__": "/"}, "http://prom:80"),
            ({"__metrics_path__": "/metrics"}, "http://prom:80"),
            ({"__metrics_path__": "/p/metrics"}, "http://prom:80/p"),
            ({"__metrics_path__": "/p/federate"}, "http://prom:80"),
            ({"__metrics_path__": "/p/metrics", "__path_prefix__": "/q"}, "http://prom:80/q"),
            ({"__metrics_path__": "/p/metrics", "__path_prefix__": ""}, "http://prom:80"),
            ({"__address__": "10.0.0.1:9091"}, "http://10.0.0.1:9091"),
            ({"__scheme__": None, "job": 7}, "http://prom:80"),
        ]
        for labels, url in table:
            self.assertEqual(urls("prom", **labels), [url], labels)

    def test_ipv6_addresses_stand_in_brackets(self) -> None:
        """IPv6 addresses stand in brackets."""
        self.assertEqual(urls("[2001:DB8::1]:9090"), ["http://[2001:db8::1]:9090"])

    def test_bad_targets_are_skipped(self) -> None:
        """A target that is none is told with its place, and the others count."""
        groups = [{"targets": ["prom-a:9090"]}, {"targets": ["prom-b:9090", "http://prom-c:9090", 7, "prom:x"]}]
        reading = read_groups(groups)
        self.assertEqual(reading.backends, (A, B))
        expected = "expected host:port; use the label __scheme__ for https, __path_prefix__ for a path"
        self.assertEqual(
            reading.problems,
            (
                f"group 2, target 2 (http://prom-c:9090): {expected}",
                "group 2, target 3 (a number): expected host:port",
                "group 2, target 4 (prom:x): the port must be a number from 1 to 65535, not 'x'",
            ),
        )

    def test_bad_groups_are_skipped(self) -> None:
        """A group that is none is told with its number, and the others count."""
        table: list[tuple[object, str]] = [
            ("prom:9090", "expected targets and labels, found text"),
            ({"target": ["prom:9090"]}, "unknown key 'target', expected targets and labels"),
            ({"targets": "prom:9090"}, "targets: expected a list, found text"),
            ({"targets": ["a:1"], "labels": ["x"]}, "labels: expected names with values, found a list"),
            ({"targets": ["a:1"], "labels": {"__scheme__": "ftp"}}, "the label __scheme__ must be http or https"),
            ({"targets": ["a:1"], "labels": {"__scheme__": True}}, "the label __scheme__ must be text, not true or false"),
            ({"targets": ["a:1"], "labels": {"__path_prefix__": "p"}}, "the label __path_prefix__ must begin with a slash"),
            (
                {"targets": ["a", "b"], "labels": {"__address__": "c:1"}},
                "with the label __address__, a group must have one target",
            ),
        ]
        for group, problem in table:
            reading = read_groups([{"targets": ["prom-a:9090"]}, group])
            self.assertEqual(reading, targets.ParsedBackends((A,), (f"group 2: {problem}",)))

    def test_nothing_makes_sense(self) -> None:
        """A list with entries of which none makes sense is not taken for an empty one."""
        self.assertEqual(self.refused([7]), "no target is usable; group 1: expected targets and labels, found a number")

    def test_no_list(self) -> None:
        """What is no list at all is refused."""
        for value, kind in ((None, "nothing"), ({}, "an object"), ("x", "text")):
            self.assertIn(f"found {kind}", self.refused(value))

    def test_password_in_a_target_is_not_repeated(self) -> None:
        """A password in a target is not repeated."""
        self.assertNotIn("s3cret", self.refused([{"targets": ["http://me:s3cret@prom:9090"]}]))

    def test_too_many(self) -> None:
        """A list is bounded, however it became long."""
        group = {"targets": ["prom-a:9090"] * 1000}
        self.assertEqual(self.refused([group] * (MAX_TARGETS // 1000 + 1)), f"more than {MAX_TARGETS} targets")

    def test_many_problems(self) -> None:
        """The problems told are bounded in number and in length."""
        reading = read_groups([{"targets": ["prom-a:9090"] + ["x" * 5000] * 50}])
        self.assertEqual((len(reading.problems), reading.problems[-1]), (21, "30 more problems"))
        self.assertLess(max(map(len, reading.problems)), 400)


class WithoutSecretsTests(SynchronousTestCase):
    """What may be shown."""

    def test_secrets_are_left_out_and_long_text_is_cut(self) -> None:
        """User, password and query are left out, and what is long is cut."""
        table = {
            "prom:9090": "prom:9090",
            "https://u:p@prom/x": "https://***@prom/x",
            "srv+https://u:p@x@prom": "srv+https://***@prom",
            "prom/x?token=p": "prom/x?***",
            "x" * 101: "x" * 100 + "...",
        }
        for text, shown in table.items():
            self.assertEqual(without_secrets(text), shown)


class ParseJSONTests(SynchronousTestCase):
    """JSON."""

    def test_json_is_parsed(self) -> None:
        """JSON is read."""
        self.assertEqual(parse_json('[{"targets": ["a:1"]}]'), [{"targets": ["a:1"]}])

    def test_bad_json_is_reported_with_its_line(self) -> None:
        """What is none is told with its line; what nests without end stops nothing."""
        table = {"[\n1,\n}": "line 3: not JSON: Expecting value", "[" * 200_000: "nested too deeply"}
        for text, problem in table.items():
            self.assertEqual(str(self.assertRaises(ValueError, parse_json, text)), problem)


class ParseYAMLTests(SynchronousTestCase):
    """YAML, with libyaml if it is there."""

    def refused(self, text: str) -> str:
        """Return why a text cannot be read."""
        return str(self.assertRaises(ValueError, parse_yaml, text))

    def test_yaml_scalars_are_text(self) -> None:
        """All scalars are text, whatever YAML makes of them elsewhere; nothing is nothing."""
        text = "---\n- targets: [a:1, 10:30, '~']\n  labels: {a: yes, b: 1.0, c: ~, d: null, e: }\n- targets:\n  - b:2\n...\n"
        labels = {"a": "yes", "b": "1.0", "c": None, "d": None, "e": None}
        self.assertEqual(parse_yaml(text), [{"targets": ["a:1", "10:30", "~"], "labels": labels}, {"targets": ["b:2"]}])

    def test_json_is_read_as_yaml(self) -> None:
        """JSON is YAML."""
        self.assertEqual(parse_yaml('[{"targets": ["a:1"]}]'), [{"targets": ["a:1"]}])

    def test_nothing_but_comments(self) -> None:
        """A text of comments is an empty list."""
        for text in ("# nobody\n", "---\n", ""):
            self.assertEqual(parse_yaml(text), [])

    def test_alias_bomb(self) -> None:
        """Aliases of aliases are refused."""
        lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
        self.assertEqual(self.refused("\n".join(lines)), "line 7: aliases expand to too many values")

    def test_bad_yaml_is_reported_with_its_line(self) -> None:
        """What is none, or more than target groups need, is told with its line."""
        table = {
            "a: 1\n\tb: 2\n": "line 2: not YAML: ",
            "- targets: [a:1\n": "line 2: not YAML: ",
            "- &a {x: y}\n- {<<: *a}\n": "line 2: merge keys (<<) are not supported",
        }
        for text, problem in table.items():
            self.assertTrue(self.refused(text).startswith(problem), (text, self.refused(text)))

    def test_nested_without_end(self) -> None:
        """What nests without end stops nothing, whatever it is made of."""
        for text in ("[" * 200_000, "{a: " * 50_000, "- " * 100_000, "? " * 100_000):
            self.assertEqual(self.refused(text), "line 1: nested too deeply")

    def test_too_large(self) -> None:
        """A long text is refused before it is read, which would take long."""
        self.assertEqual(self.refused("#" * (MAX_YAML_BYTES + 1)), "larger than 256 KiB; use JSON for long lists")
