"""The options for backends in Kubernetes: the endpoints of a service, or pods."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mpp.core.text.values import parse_paths, parse_prefix, parse_scheme
from mpp.discovery.kinds.option import KUBERNETES as IN_KUBERNETES
from mpp.discovery.kinds.option import Option
from mpp.discovery.kinds.source_kind import SourceContext, SourceKind
from mpp.discovery.kubernetes.settings import KubeSettings

if TYPE_CHECKING:
    from mpp.core.interfaces import ILocator


def _make(name: str, own: KubeSettings, context: SourceContext) -> ILocator:
    from mpp.discovery.kubernetes.locator import build, check

    insecure = context.settings.insecure
    check(own, context.environ, insecure=insecure)
    return build(own, context.reactor, context.environ, insecure=insecure)


def _secret_files(own: KubeSettings) -> Iterator[str]:
    if own.service_name or own.pod_label_selector:
        yield from filter(None, own.kubeconfig.split(os.pathsep))


KUBERNETES = SourceKind(
    "kubernetes",
    KubeSettings,
    (
        Option(
            "--kubeconfig",
            IN_KUBERNETES,
            "The path to a kubeconfig file used to communicate with the kubernetes api server to locate prometheus instances;"
            " without it the pod's own service account is used",
            parse_paths,
            field="kubeconfig",
            env=("MPP_KUBECONFIG", "KUBECONFIG"),
            chapter="Kubernetes",
        ),
        Option(
            "--kube-service-name",
            IN_KUBERNETES,
            "The service name used to locate prometheus endpoints; takes precedence over 'kube-pod-label-selector'",
            env=("MPP_KUBE_SERVICE_NAME", "MPP_SERVICE_NAME"),
            locates=True,
            metavar="NAME",
        ),
        Option(
            "--kube-pod-label-selector",
            IN_KUBERNETES,
            "The label selector used to find prometheus pods",
            locates=True,
            metavar="SELECTOR",
        ),
        Option(
            "--kube-namespace",
            IN_KUBERNETES,
            "The namespace in which prometheus pods/endpoints exist; by default the pod's or the context's own",
            metavar="NAME",
        ),
        Option(
            "--kube-port",
            IN_KUBERNETES,
            "The port (name or number) where prometheus is listening on individual pods/endpoints; by default one named web,"
            " http-web, http or prometheus, else 9090, else the first",
            not_ours="tcp://",
            metavar="PORT",
        ),
        Option(
            "--kube-scheme",
            IN_KUBERNETES,
            "The scheme of requests to the servers in kubernetes: http or https",
            parse_scheme,
            choices=("http", "https"),
            metavar="SCHEME",
        ),
        Option(
            "--kube-path-prefix",
            IN_KUBERNETES,
            "The path prefix of the servers in kubernetes, such as /prometheus",
            parse_prefix,
            metavar="PATH",
        ),
    ),
    _make,
    depends_on=("insecure",),
    secret_files=_secret_files,
)
