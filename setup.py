"""All package metadata, and nothing else. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
about: dict[str, str] = {}
exec((here / "mpp" / "_version.py").read_text(), about)
readme = here / "README.rst"

setup(
    name="mpp",
    version=about["__version__"],
    description="A high-availability proxy in front of identical Prometheus servers",
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "A proxy in front of Prometheus servers.\n",
    long_description_content_type="text/x-rst",
    author="the mpp maintainers",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="prometheus proxy high-availability failover twisted",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: Proxy Servers",
        "Topic :: System :: Monitoring",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # twisted/plugins has no __init__.py (it would overwrite Twisted's), so find_packages() cannot see it.
    packages=[*find_packages(include=["mpp", "mpp.*"]), "twisted.plugins"],
    package_data={"mpp": ["py.typed"]},
    # Each floor is the lowest release that works and that no published advisory names; constraints-lowest.txt has the same ones.
    install_requires=[
        "Twisted[tls]>=26.4",
        "attrs>=23.1",
        "bcrypt>=4.0",
        "httptools>=0.6.4",
        "cryptography>=50.0",
        "idna>=3.15",
        # Where it has wheels; mpp/cache/deflate.py works without it, only slower.
        "isal>=1.9; platform_machine in 'x86_64 AMD64 aarch64 arm64' and platform_python_implementation == 'CPython'",
        # The first that works with cryptography 50.
        "pyOpenSSL>=26.4",
        "prometheus-client>=0.20",
        "msgspec>=0.20",
        # The limits in mpp/promql/guard.py were measured with it. mpp starts without it, too.
        "promql-parser>=0.12",
        "PyYAML>=6.0",
        "treq>=24.9",
        "txaio>=23.1.1",
        # The first whose interfaces can be used in types, as in "IProgress | None"; mpp does not start with 6.1.
        "zope.interface>=6.2",
    ],
    extras_require={
        # What docs/ is built with. Exact releases: a newer one must not turn its new warnings into failures of old checkouts.
        "docs": ["Sphinx==9.0.4", "alabaster==1.0.0"],
        # What script/test needs.
        "test": [
            "build",
            "coverage[toml]",
            "hypothesis",
            "mypy",
            "mypy-zope",
            "ruff",
            "setuptools>=83.0",
            "twine",
            "types-docutils",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["mpp = mpp.__main__:main"]},
    zip_safe=False,
)
