"""The settings of the Kubernetes locator."""

from __future__ import annotations

from attrs import frozen


@frozen
class KubeSettings:
    """
    The settings of the Kubernetes locator.

    :ivar kubeconfig: path or paths (separated by colons) of kubeconfig files; empty for in-cluster configuration.
    :ivar namespace: the namespace of the servers; empty for the one of the kubeconfig's context or mpp's pod, else ``default``.
    :ivar service_name: takes precedence over ``pod_label_selector``; one of them turns the locator on.
    :ivar pod_label_selector: passed to the API server verbatim.
    :ivar port: name or number of the servers' port; if empty, `mpp.discovery.kubernetes.objects.choose_port` chooses one.
    :ivar scheme: the scheme of the backends' URLs, ``http`` or ``https``.
    :ivar path_prefix: the path prefix of the backends, empty or like ``/prometheus``.
    """

    kubeconfig: str = ""
    namespace: str = ""
    service_name: str = ""
    pod_label_selector: str = ""
    port: str = ""
    scheme: str = "http"
    path_prefix: str = ""
