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
        "Programming Language :: Python :: 3.15",
        "Topic :: Internet :: Proxy Servers",
        "Topic :: System :: Monitoring",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # twisted/plugins has no __init__.py (it would overwrite Twisted's), so find_packages() cannot see it.
    packages=[*find_packages(include=["mpp", "mpp.*"]), "twisted.plugins"],
    package_data={"mpp": ["py.typed"]},
    install_requires=[
        "Twisted[tls]>=25.5",
        "attrs>=23.1",
        "bcrypt>=4.0",
        "httptools>=0.6.4",
        "cryptography>=41",
        # The first that takes the certificates of cryptography.
        "pyOpenSSL>=24.3",
        "prometheus-client>=0.20",
        "PyYAML>=6",
        "service-identity>=24.1",
        "txaio>=23.1",
        "zope.interface>=6",
    ],
    extras_require={
        # What script/test needs.
        "test": [
            "build",
            "coverage[toml]",
            "docutils",
            "hypothesis",
            "mypy",
            "mypy-zope",
            "ruff",
            "setuptools>=68",
            "treq>=24.9",
            "twine",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["mpp = mpp.__main__:main"]},
    zip_safe=False,
)
