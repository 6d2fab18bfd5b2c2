"""Kubeconfigs, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def make_kubeconfig(folder: Path, user: dict[str, Any], cluster: dict[str, Any]) -> Path:
    """Write a kubeconfig."""
    path = folder / "config"
    content = {
        **{"apiVersion": "v1", "kind": "Config", "current-context": "test"},
        "clusters": [{"name": "fake", "cluster": cluster}],
        "contexts": [{"name": "test", "context": {"cluster": "fake", "user": "alice", "namespace": "monitoring"}}],
        "users": [{"name": "alice", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return path
