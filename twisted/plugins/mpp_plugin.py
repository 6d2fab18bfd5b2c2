"""The plugin that adds mpp to ``twistd``. Every twistd on the machine imports this file, so it imports nothing of ours."""

from twisted.application.service import ServiceMaker

mpp = ServiceMaker("mpp", "mpp.tap", "A proxy in front of identical Prometheus servers", "mpp")
