"""All package metadata, and nothing else. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
about: dict[str, str] = {}
exec((here / "mpp" / "_version.py").read_text(), about)

setup(
    name="mpp",
    version=about["__version__"],
    python_requires=">=3.11",
    # twisted/plugins has no __init__.py (it would overwrite Twisted's), so find_packages() cannot see it.
    packages=[*find_packages(include=["mpp", "mpp.*"]), "twisted.plugins"],
    package_data={"mpp": ["py.typed"]},
    install_requires=[
        "Twisted[tls]>=25.5",
        "attrs>=23.1",
        "httptools>=0.6.4",
        "prometheus-client>=0.20",
        "service-identity>=24.1",
        "txaio>=23.1",
        "zope.interface>=6",
    ],
    extras_require={
        "test": ["coverage[toml]", "hypothesis"],
    },
    entry_points={"console_scripts": ["mpp = mpp.__main__:main"]},
    zip_safe=False,
)
