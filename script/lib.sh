# shellcheck shell=bash
# What script/test and script/demo share. Sourced from the root of the checkout, with `set -euo pipefail`.

# find_python: prints a Python that is new enough.
find_python() {
    local python
    for python in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    echo "Python 3.11 or later is needed, and neither python3 nor python3.11 to python3.14 is that" >&2
    return 1
}

# fingerprint FILE...: prints a hash of the files' names and contents.
fingerprint() {
    .venv/bin/python - "$@" <<'PYTHON'
import hashlib, pathlib, sys
hash = hashlib.sha256(sys.version.encode())
for path in sorted(sys.argv[1:]):
    hash.update(path.encode() + b"\0" + pathlib.Path(path).read_bytes())
print(hash.hexdigest())
PYTHON
}

# use_venv [EXTRA]: makes .venv, installs mpp (never editable: that would hide the twistd plugin) with what it needs, and
# with the extra's requirements; puts it first in PATH. Does again only what has to be done again.
use_venv() {
    local extra=${1:-} python wanted sources
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        rm -rf .venv
        echo "creating .venv with $python ($("$python" --version))" >&2
        "$python" -m venv .venv
    fi
    wanted="$extra $(fingerprint setup.py pyproject.toml mpp/_version.py)"
    # An environment that was installed with an extra serves without it, too.
    if [ "$(cat .venv/mpp-requirements 2>/dev/null)" != "$wanted" ] &&
        { [ -n "$extra" ] || ! grep -qF "$wanted" .venv/mpp-requirements 2>/dev/null; }; then
        echo "installing mpp and what it needs into .venv" >&2
        rm -f .venv/mpp-sources
        install_mpp ".${extra:+[$extra]}" "setuptools>=83.0"
        echo "$wanted" >.venv/mpp-requirements
    fi
    mapfile -t sources < <(find mpp twisted setup.py -type f \( -name '*.py' -o -name py.typed \) | sort)
    wanted=$(fingerprint "${sources[@]}")
    if [ "$(cat .venv/mpp-sources 2>/dev/null)" != "$wanted" ]; then
        install_mpp --no-deps --no-build-isolation --force-reinstall .
        echo "$wanted" >.venv/mpp-sources
    fi
    PATH=$PWD/.venv/bin:$PATH
}

# install_mpp ARGUMENT...: setuptools would put modules that are gone into the wheel as long as build/ has them.
install_mpp() {
    rm -rf build
    .venv/bin/python -m pip install -qq --disable-pip-version-check "$@" </dev/null
    rm -rf build
}
