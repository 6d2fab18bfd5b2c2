"""What ``bench/dashboards.py`` and the programs beside it share: servers with samples, dashboards, caches of others, viewers."""
