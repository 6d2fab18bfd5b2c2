"""Kubeconfigs, service accounts, and all that can be wrong with them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import ConfigError
from mpp.discovery.kubernetes.cluster_access import ClusterAccess, read_access
from mpp.discovery.kubernetes.settings import KubeSettings
from tests.fake_https import FakeAuthority
from tests.fake_kube import pair
from tests.unit.core.test_plain_yaml import NESTED, alias_bomb, merge_bomb

AUTHORITY = FakeAuthority()
CLIENT, CLIENT_KEY = pair(AUTHORITY.issue("alice"))
OTHER_KEY = pair(AUTHORITY.issue("bob"))[1]
SECRETS = ("s3cr3t-token", "s3cr3t-password", "BEGIN PRIVATE KEY")


def kubeconfig(
    *, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, context: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Make a kubeconfig with one entry of each kind."""
    return {
        **{"apiVersion": "v1", "kind": "Config", "current-context": "prod", "preferences": {}},
        "clusters": [{"name": "kube", "cluster": {"server": "https://kube.example:6443", **(cluster or {})}}],
        "contexts": [{"name": "prod", "context": {"cluster": "kube", "user": "alice", **(context or {})}}],
        "users": [{"name": "alice", "user": user or {}}],
    }


class _Files(SynchronousTestCase):
    """Base: a folder for files."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, name: str, content: bytes | str | dict[str, Any]) -> str:
        """Write a file; give its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        text = yaml.safe_dump(content) if isinstance(content, dict) else content
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def read(self, content: bytes | str | dict[str, Any], *, insecure: bool = False) -> ClusterAccess:
        """Return the access that a kubeconfig gives."""
        return read_access(KubeSettings(kubeconfig=self.write("config", content)), {}, insecure=insecure)

    def refused(self, content: bytes | str | dict[str, Any]) -> str:
        """Return why a kubeconfig cannot be used, without the folder; no secret may be in it."""
        error = self.assertRaises(ConfigError, self.read, content)
        told = f"{error}"
        for secret in SECRETS:
            self.assertNotIn(secret, told)
        self.assertNotIn("\n", told)
        return told.replace(f"{self.folder}/", "")


class KubeconfigTests(_Files):
    """A kubeconfig in good order."""

    def test_server_is_enough(self) -> None:
        """A server is all that is needed."""
        content = kubeconfig(cluster={"server": "http://localhost:8080/"})
        self.assertEqual(self.read(content), ClusterAccess("http://localhost:8080", "default"))
        del content["contexts"][0]["context"]["user"]
        self.assertEqual(self.read(content), ClusterAccess("http://localhost:8080", "default"))

    def test_kubeconfig_may_be_json_with_a_bom(self) -> None:
        """A kubeconfig may be JSON, and may begin with a byte order mark."""
        access = self.read("\ufeff" + json.dumps(kubeconfig(context={"namespace": "monitoring"}, user={"token": "t"}), indent=1))
        self.assertEqual(access, ClusterAccess("https://kube.example:6443", "monitoring", authorization="Bearer t"))

    def test_empty_document_at_the_end(self) -> None:
        """A file that ends with ``---`` is accepted, as by kubectl."""
        self.assertEqual(self.read(json.dumps(kubeconfig()) + "\n---\n"), self.read(kubeconfig()))

    def test_token_file(self) -> None:
        """A token file, beside the kubeconfig or elsewhere, counts more than a token."""
        self.write("secrets/token", "from-file\n")
        for path in ("secrets/token", str(self.folder / "secrets/token")):
            self.assertEqual(self.read(kubeconfig(user={"tokenFile": path, "token": "x"})).authorization, "Bearer from-file")

    def test_user_and_password_are_sent_as_basic(self) -> None:
        """A user name and a password make HTTP basic."""
        access = self.read(kubeconfig(user={"username": "alice", "password": "s3cr3t-password"}))
        self.assertEqual(access.authorization, "Basic " + base64.b64encode(b"alice:s3cr3t-password").decode())

    def test_impersonation_has_user_uid_groups_and_extras(self) -> None:
        """In whose name one asks: user, uid, groups and more."""
        user = {"as": "bob", "as-uid": "7", "as-groups": ["dev", "ops"], "as-user-extra": {"example.com/reason": ["test", "x"]}}
        extra = "Impersonate-Extra-example.com%2Freason"
        expected = [("Impersonate-User", "bob"), ("Impersonate-Uid", "7"), ("Impersonate-Group", "dev")]
        expected += [("Impersonate-Group", "ops"), (extra, "test"), (extra, "x")]
        self.assertEqual(self.read(kubeconfig(user=user)).impersonation, tuple(expected))

    def test_certificates_are_in_files_or_inline(self) -> None:
        """Certificates are in files or in the kubeconfig itself, which counts more."""
        files = {"client-certificate": self.write("c.pem", CLIENT), "client-key": self.write("k.pem", CLIENT_KEY)}
        data = {f"{key}-data": base64.b64encode(Path(path).read_bytes()).decode() for key, path in files.items()}
        nowhere = dict.fromkeys(files, "/nowhere")
        for user in (files, data, {**nowhere, **data}):
            access = self.read(kubeconfig(user=user, cluster={"certificate-authority": self.write("ca.pem", AUTHORITY.pem)}))
            self.assertEqual((access.tls.ca, access.tls.client), (AUTHORITY.pem, CLIENT.rstrip() + b"\n" + CLIENT_KEY))

    def test_tls_options(self) -> None:
        """The server's other name; and whether anything is verified at all, which the program's own option can forbid."""
        ca = {"certificate-authority-data": base64.b64encode(AUTHORITY.pem).decode()}
        access = self.read(kubeconfig(cluster={**ca, "tls-server-name": "kube.internal"}))
        self.assertEqual((access.tls.server_name, access.tls.insecure), ("kube.internal", False))
        for access in (
            self.read(kubeconfig(cluster={**ca, "insecure-skip-tls-verify": True})),
            self.read(kubeconfig(cluster=ca), insecure=True),
        ):
            self.assertEqual((access.tls.insecure, access.tls.ca), (True, None))

    def test_several_files(self) -> None:
        """Of several files, who comes first wins, entry by entry; missing ones do not count, and paths belong to their file."""
        self.write("b/token", "of-b")
        first = {**kubeconfig(), "users": None, "clusters": []}
        second = {**kubeconfig(user={"tokenFile": "token"}, context={"namespace": "other"}), "current-context": "nowhere"}
        third = kubeconfig(user={"token": "of-c", "as": "bob"}, cluster={"server": "https://other.example"})
        paths = [self.write("a/config", first), str(self.folder / "missing"), self.write("b/config", second)]
        paths += ["", self.write("c/config", third), self.write("empty", "")]
        access = read_access(KubeSettings(kubeconfig=os.pathsep.join(paths)), {})
        self.assertEqual(access, ClusterAccess("https://kube.example:6443", "default", authorization="Bearer of-b"))

    def test_plugin_has_command_arguments_and_environment(self) -> None:
        """A plugin's command, arguments and environment; what it is told of the cluster if it wants to know."""
        content = kubeconfig(
            user={
                "exec": {
                    **{
                        "apiVersion": "client.authentication.k8s.io/v1",
                        "command": "./bin/get-token",
                        "args": ["--cluster", "kube"],
                    },
                    **{"env": [{"name": "PROFILE", "value": "prod"}], "provideClusterInfo": True, "interactiveMode": "Never"},
                }
            },
            cluster={
                **{"tls-server-name": "kube.internal", "certificate-authority-data": base64.b64encode(AUTHORITY.pem).decode()},
                "extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}, {"name": "other"}],
            },
        )
        plugin = self.read(content).plugin
        assert plugin is not None
        self.assertEqual(plugin.command, f"{self.folder}/./bin/get-token")
        self.assertEqual(plugin.arguments, ("--cluster", "kube"))
        variables = dict(plugin.environ)
        self.assertEqual(variables["PROFILE"], "prod")
        told = json.loads(variables["KUBERNETES_EXEC_INFO"])
        cluster = told["spec"].pop("cluster")
        self.assertEqual(told, {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}})
        self.assertEqual((cluster["server"], cluster["config"]), ("https://kube.example:6443", {"audience": "x"}))
        self.assertEqual(base64.b64decode(cluster["certificate-authority-data"]), AUTHORITY.pem)

    def test_usual_plugin(self) -> None:
        """What cloud providers write: nulls, a bare command, a version before 1."""
        version = "client.authentication.k8s.io/v1beta1"
        user = {"exec": {"apiVersion": version, "command": "gke-auth", "args": None, "env": None, "installHint": "Install it"}}
        plugin = self.read(kubeconfig(user=user)).plugin
        assert plugin is not None
        self.assertEqual((plugin.command, plugin.arguments, plugin.install_hint), ("gke-auth", (), "Install it"))
        self.assertIsNone(self.read(kubeconfig(user={**user, "token": "t"})).plugin)

    def test_no_secret_is_shown(self) -> None:
        """An access shows no secret."""
        plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "args": ["s3cr3t-token"]}
        plugin["env"] = [{"name": "A", "value": "s3cr3t-password"}]
        pem = {"client-certificate": self.write("c.pem", CLIENT), "client-key": self.write("k.pem", CLIENT_KEY)}
        for user in ({"token": "s3cr3t-token", **pem}, {"exec": plugin}):
            shown = repr(self.read(kubeconfig(user=user)))
            for secret in SECRETS:
                self.assertNotIn(secret, shown)


class BadKubeconfigTests(_Files):
    """Every bad kubeconfig has a message that names file, key and what was expected."""

    def test_unknown_context_is_named_with_the_known_ones(self) -> None:
        """An unknown context, cluster or user is named, with those that there are."""
        content = kubeconfig()
        for changes, expected in (
            ({"current-context": ""}, "config: current-context is not set; known contexts: prod"),
            ({"current-context": "test"}, "config: current-context 'test' is not defined; known contexts: prod"),
            ({"contexts": []}, "config: current-context 'prod' is not defined; there are no contexts"),
            ({"users": []}, "config: contexts[prod].context.user: no user 'alice' is defined; the file defines no user"),
            (
                {"clusters": []},
                "config: contexts[prod].context.cluster: no cluster 'kube' is defined; the file defines no cluster",
            ),
            (
                {"users": [{"name": "bob", "user": {}}]},
                "config: contexts[prod].context.user: no user 'alice' is defined; known: bob",
            ),
            ({"contexts": [{"name": "prod"}]}, "config: contexts[prod].context.cluster: missing"),
            ({"contexts": 7}, "config: kubeconfig.contexts: expected a list"),
            ({"contexts": [7]}, "config: kubeconfig.contexts: expected a list of mappings"),
            ({"contexts": [{"name": 7}]}, "config: kubeconfig.contexts[0].name: expected text (a number or a date needs quotes)"),
            ({"users": [{"name": "alice", "user": 7}]}, "config: kubeconfig.users[0].user: expected a mapping"),
        ):
            self.assertEqual(self.refused({**content, **changes}), f"--kubeconfig: {expected}")

    def test_unreachable_cluster_setting_is_named(self) -> None:
        """A cluster that cannot be reached like that is named."""
        url = "expected a URL such as https://host:6443"
        for cluster, expected in (
            ({"server": ""}, f"server: {url}"),
            ({"server": "kube.example:6443"}, f"server: {url}"),
            ({"server": "https://[::1"}, f"server: {url}"),
            ({"server": "https://a:s3cr3t-password@b"}, "server: user, password, query or fragment in the URL are not supported"),
            ({"proxy-url": "http://proxy"}, "proxy-url: a proxy to the API server is not supported"),
            ({"insecure-skip-tls-verify": "yes"}, "insecure-skip-tls-verify: expected true or false"),
            (
                {"tls-server-name": "*.example.org"},
                "tls-server-name: expected a host name or an IP address, such as kube.example.org",
            ),
            ({"certificate-authority-data": "s3cr3t-token"}, "certificate-authority-data: not base64"),
            ({"certificate-authority-data": "eA=="}, "certificate-authority-data: not a certificate in PEM"),
        ):
            self.assertEqual(
                self.refused(kubeconfig(cluster=cluster)), f"--kubeconfig: config: clusters[kube].cluster.{expected}"
            )
        told = self.refused(kubeconfig(cluster={"certificate-authority": "ca.pem"}))
        self.assertEqual(
            told, "--kubeconfig: config: clusters[kube].cluster.certificate-authority: ca.pem: No such file or directory"
        )

    def test_contradictory_credentials_are_rejected(self) -> None:
        """Credentials that contradict each other, are missing in part, or are none are named."""
        version = "client.authentication.k8s.io/v1"
        self.write("empty", "\n")
        self.write("two", "s3cr3t-token\ns3cr3t-token")
        no_token = "not a token: it has blanks or other characters that no token has"
        for user, expected in (
            (
                {"token": "s3cr3t-token", "username": "a"},
                "token: a token and a username or password are set; expected one",
            ),
            ({"token": "s3cr3t-token x"}, f"token: {no_token}"),
            ({"token": 7}, "token: expected text (a number or a date needs quotes)"),
            ({"tokenFile": "nowhere"}, "tokenFile: nowhere: No such file or directory"),
            ({"tokenFile": "empty"}, "tokenFile: empty: empty"),
            ({"tokenFile": "two"}, f"tokenFile: two: {no_token}"),
            ({"tokenFile": "."}, "tokenFile: .: Is a directory"),
            ({"auth-provider": {"name": "gcp"}}, "auth-provider: not supported, and removed from kubectl 1.26; use exec"),
            ({"as-groups": ["dev"]}, "as: missing, and there are groups, a uid or more to impersonate"),
            ({"as": "a\nb"}, "as: as, as-uid, as-groups or as-user-extra has control characters; expected printable text"),
            ({"as": "a", "as-groups": [7]}, "as-groups: expected a list of strings"),
            ({"client-key": self.write("k", CLIENT_KEY)}, "client-certificate: missing, and there is a client-key"),
            ({"client-certificate": self.write("c", CLIENT)}, "client-key: missing, and there is a client-certificate"),
            ({"exec": {"apiVersion": "v1", "command": "x"}}, "exec.apiVersion: 'v1' is not supported; expected "),
            ({"exec": {"apiVersion": version}}, "exec.command: missing"),
            ({"exec": {"apiVersion": version, "command": "x", "interactiveMode": "Always"}}, "exec.interactiveMode: the plugin "),
        ):
            told = self.refused(kubeconfig(user=user))
            self.assertIn(f"--kubeconfig: config: users[alice].user.{expected}", told)

    def test_bad_key_is_named_by_its_certificate(self) -> None:
        """A key that is encrypted, none, or another one's is named by its certificate's key."""
        certificate = {"client-certificate": self.write("c", CLIENT)}
        none = "its key is not a private key in PEM, or not the certificate's key"
        for key, expected in (
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "its key is encrypted, which is not supported"),
            (b"BEGIN PRIVATE KEY", none),
            (OTHER_KEY, none),
        ):
            told = self.refused(kubeconfig(user={**certificate, "client-key": self.write("k", key)}))
            self.assertEqual(told, f"--kubeconfig: config: users[alice].user.client-certificate: {expected}")

    def test_file_that_is_no_kubeconfig_is_named_not_quoted(self) -> None:
        """A file that is no kubeconfig is named, and not quoted."""
        for content, expected in (
            (b"\xff\xfe", "config: not UTF-8 text"),
            ("users:\n\ttoken: s3cr3t-token", "config: line 2: not YAML"),
            ("users: *s3cr3t-token", "config: line 1: an alias without an anchor"),
            ("[]", "config: not a kubeconfig"),
            ("", "config: current-context is not set; there are no contexts"),
            ("x" * 2 * 1024 * 1024, "config: larger than 1 MiB"),
        ):
            self.assertIn(f": {expected}", self.refused(content))

    def test_hostile_files(self) -> None:
        """A file that was made to do harm is named, with the line, and does none."""
        nests = "config: line 1: nested too deeply"
        table = {
            **dict.fromkeys(NESTED, nests),
            merge_bomb(): "config: line 2: merge keys (<<) are not supported",
            alias_bomb(): "config: line 7: aliases expand to too many values",
        }
        for content, expected in table.items():
            self.assertEqual(self.refused(content), f"--kubeconfig: {expected}")


class InClusterTests(_Files):
    """What a pod is given."""

    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}  # noqa: RUF012

    def setUp(self) -> None:
        super().setUp()
        self.write("token", "s3cr3t-token\n")
        self.write("ca.crt", AUTHORITY.pem)
        self.write("namespace", "monitoring")

    def access(self, *, insecure: bool = False, **environ: str) -> ClusterAccess:
        """Return the pod's access."""
        return read_access(KubeSettings(), {**self.environ, **environ}, insecure=insecure, account=str(self.folder))

    def test_service_account(self) -> None:
        """Address, token, certificates and namespace are those of the pod."""
        access = self.access()
        self.assertEqual((access.server, access.namespace), ("https://10.96.0.1:443", "monitoring"))
        self.assertEqual((access.authorization, access.tls.ca), ("Bearer s3cr3t-token", AUTHORITY.pem))
        self.assertNotIn("s3cr3t-token", repr(access))
        self.assertEqual(self.access(insecure=True), evolve(access, tls=evolve(access.tls, insecure=True, ca=None)))

    def test_ipv6_addresses_get_brackets(self) -> None:
        """IPv6 addresses get brackets, names do not."""
        for host, expected in (("fd00::1", "https://[fd00::1]:443"), ("kubernetes.default", "https://kubernetes.default:443")):
            self.assertEqual(self.access(KUBERNETES_SERVICE_HOST=host).server, expected)

    def test_without_namespace(self) -> None:
        """Without the namespace's file it is the default one."""
        os.remove(self.folder / "namespace")
        self.assertEqual(self.access().namespace, "default")

    def test_without_token(self) -> None:
        """A pod without a token, as with automountServiceAccountToken off, is told which file is missing."""
        os.remove(self.folder / "token")
        told = str(self.assertRaises(ConfigError, self.access))
        self.assertIn("--kubeconfig: missing, and the pod's service account is not usable: ", told)
        self.assertTrue(told.endswith("/token: No such file or directory"))

    def test_kubeconfig_wins(self) -> None:
        """A kubeconfig counts more than the pod's own."""
        path = self.write("config", kubeconfig())
        self.assertEqual(read_access(KubeSettings(kubeconfig=path), self.environ).server, "https://kube.example:6443")
