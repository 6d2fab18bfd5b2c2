"""
The URL of a Kubernetes API server and the credentials for it, from kubeconfig files or from a pod's service account. Knows the
files and their rules (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/); sends no request.

No message contains a value that could be a secret: messages name the file and the key.

Rejected as not supported: ``proxy-url``, ``auth-provider`` (removed from Kubernetes' own clients with 1.26), encrypted keys.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from mpp.core.errors import ConfigError
from mpp.core.text.server_name import ServerName
from mpp.discovery.kubernetes import user as kube_user
from mpp.discovery.kubernetes.kubeconfig import KubeconfigEntry, read_bytes, read_kubeconfig, read_text
from mpp.discovery.kubernetes.pem import check_ca, check_client
from mpp.discovery.kubernetes.settings import KubeSettings
from mpp.wire.tls import TLSPolicy

OPTION = "--kubeconfig"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@frozen
class ClusterAccess:
    """
    The URL of an API server, and the credentials for it.

    :ivar server: base URL, without a slash at the end.
    :ivar namespace: the namespace of the kubeconfig's context or of mpp's pod, ``default`` if it has none.
    :ivar tls: the authorities to trust, and the client certificate, if there is one.
    :ivar authorization: the value of the ``Authorization`` header, or empty.
    :ivar impersonation: the names and values of the headers for user impersonation.
    :ivar plugin: the program to run for the credentials; None if the files themselves hold them.
    """

    server: str
    namespace: str = "default"
    tls: TLSPolicy = field(factory=TLSPolicy)
    authorization: str = field(default="", repr=False)
    impersonation: tuple[tuple[str, str], ...] = ()
    plugin: kube_user.ExecPlugin | None = None


def read_access(
    kube: KubeSettings, environ: Mapping[str, str], *, insecure: bool = False, account: str = SERVICE_ACCOUNT
) -> ClusterAccess:
    """
    Return the API server's URL and the credentials as the files have them now; nothing is cached.

    :param environ: mpp's environment, which holds the API server's address when there is no kubeconfig.
    :param insecure: verify no certificate, whatever the files say.
    :param account: the folder of the pod's service account.
    :raise ConfigError: something is missing, unreadable, contradictory or not supported.
    """
    if kube.kubeconfig:
        return _from_kubeconfig(kube.kubeconfig, insecure)
    return _in_cluster(environ, account, insecure)


def _in_cluster(environ: Mapping[str, str], account: str, insecure: bool) -> ClusterAccess:
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ConfigError(OPTION, "missing, and this is no pod of a cluster: KUBERNETES_SERVICE_HOST and _PORT are not set")
    ca_file, token_file, namespace_file = (os.path.join(account, name) for name in ("ca.crt", "token", "namespace"))
    try:
        ca = None if insecure else check_ca(read_bytes(ca_file), ca_file)
        authorization = kube_user.bearer(read_text(token_file), token_file)
    except ConfigError as error:
        raise ConfigError(OPTION, f"missing, and the pod's service account is not usable: {error.problem}") from None
    # A pod that mounts a token of its own may not mount the namespace.
    namespace = read_text(namespace_file) if os.path.exists(namespace_file) else "default"
    return ClusterAccess(f"https://{_bracketed(host)}:{port}", namespace, TLSPolicy(insecure, ca), authorization)


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


def _from_kubeconfig(paths: str, insecure: bool) -> ClusterAccess:
    kubeconfig = read_kubeconfig(paths)
    name, where = kubeconfig.current_context
    if not name:
        raise ConfigError(OPTION, f"{paths}: current-context is not set; {_choices(kubeconfig.contexts)}")
    context = kubeconfig.contexts.get(name)
    if context is None:
        raise ConfigError(OPTION, f"{where}: current-context {name!r} is not defined; {_choices(kubeconfig.contexts)}")
    cluster = _referred(context, "cluster", kubeconfig.clusters)
    user = _referred(context, "user", kubeconfig.users)
    tls = _tls(cluster, user, insecure)
    plugin = None if user is None else kube_user.read_plugin(user, lambda: _cluster_info(cluster, tls))
    return ClusterAccess(
        server=_server(cluster),
        namespace=context.text("namespace") or "default",
        tls=tls,
        authorization="" if user is None else kube_user.authorization(user),
        impersonation=() if user is None else kube_user.impersonation(user),
        plugin=plugin,
    )


def _choices(contexts: Mapping[str, KubeconfigEntry]) -> str:
    return f"known contexts: {', '.join(sorted(contexts))}" if contexts else "there are no contexts"


def _referred(context: KubeconfigEntry, key: str, table: Mapping[str, KubeconfigEntry]) -> Any:
    """Return the cluster or user that a context names; None for a context without a user."""
    name = context.text(key)
    if not name and key == "user":
        return None
    if not name:
        raise context.error(key, "missing")
    if name not in table:
        known = f"known: {', '.join(sorted(table))}" if table else f"the file defines no {key}"
        raise context.error(key, f"no {key} {name!r} is defined; {known}")
    return table[name]


def _server(cluster: KubeconfigEntry) -> str:
    cluster.refuse("proxy-url", "a proxy to the API server is not supported")
    url = cluster.text("server")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise cluster.error("server", "expected a URL such as https://host:6443")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise cluster.error("server", "user, password, query or fragment in the URL are not supported")
    return url.rstrip("/")


def _tls(cluster: KubeconfigEntry, user: KubeconfigEntry | None, insecure: bool) -> TLSPolicy:
    insecure = insecure or cluster.flag("insecure-skip-tls-verify")
    ca, ca_key = cluster.data_or_file("certificate-authority")
    if ca is not None and not insecure:
        check_ca(ca, cluster.named(ca_key))
    return TLSPolicy(
        insecure=insecure,
        ca=None if insecure else ca,
        client=None if user is None else _client(user),
        server_name=_server_name(cluster),
    )


def _server_name(cluster: KubeconfigEntry) -> str:
    name = cluster.text("tls-server-name")
    try:
        if name:
            ServerName.parse(name)
    except ValueError:
        raise cluster.error("tls-server-name", "expected a host name or an IP address, such as kube.example.org") from None
    return name


def _client(user: KubeconfigEntry) -> bytes | None:
    certificate, certificate_key = user.data_or_file("client-certificate")
    key, _ = user.data_or_file("client-key")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        present, absent = ("client-key", "client-certificate") if certificate is None else ("client-certificate", "client-key")
        raise user.error(absent, f"missing, and there is a {present}")
    return check_client(certificate, key, user.named(certificate_key))


def _cluster_info(cluster: KubeconfigEntry, tls: TLSPolicy) -> dict[str, Any]:
    """Return the cluster information for a plugin (client.authentication.k8s.io, type Cluster)."""
    info = {"server": _server(cluster), **kube_user.tls_info(tls)}
    for extension in cluster.sections("extensions"):
        if extension.text("name") == kube_user.EXEC_EXTENSION:
            info["config"] = extension.value.get("extension")
    return info
