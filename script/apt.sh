# shellcheck shell=bash
# What the script/fetch-* share: Debian packages are downloaded with apt and unpacked into .cache of the checkout, without
# installing anything on this machine. Sourced from the root of the checkout, with `set -euo pipefail`, by a script that says
#
#   what     in words
#   names    of the package, one of which each suite has
#   program  the name of the program, which is put into the folder of each suite
#   otherwise  where tests find the program when there is no apt
#
# and defines
#
#   packages           prints the packages to unpack
#   arrange FOLDER     makes FOLDER/$program, what was unpacked being in FOLDER/root
#   works FOLDER       succeeds if it runs
#   version FOLDER     prints one line

self=$(basename "$0")
cache=$PWD/.cache/$program
mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { echo "$self: $*" >&2; }

# apt with everything it writes inside our own folder; works for root and for all other users, whatever is installed here.
private=(
    -o Dir::State::status=/dev/null
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User= -o Acquire::Retries=0 -o Acquire::Languages=none
    -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Debug::NoLocking=1
)

offers() {  # apt options... -> succeeds if the package can be had with them, under the name that is then $package
    for package in $names; do
        [[ $(apt-cache "$@" policy "$package" 2>/dev/null) == *"Candidate: "[0-9]* ]] && return
    done
    return 1
}

use_lists() {  # name: from now on, use package lists of our own
    mkdir -p "$work/$1/lists/partial"
    lists=(-o "Dir::State::Lists=$work/$1/lists")
}

# Uses the packages that this machine's own package sources offer.
select_stable() {
    lists=()
    offers "${private[@]}" && return
    use_lists stable
    apt-get "${private[@]}" "${lists[@]}" update >"$work/log" 2>&1 || return 1
    offers "${private[@]}" "${lists[@]}"
}

mirror() {  # prints the URI of the mirror that this machine takes Debian from
    apt-get "${private[@]}" "${lists[@]}" indextargets --format '$(ORIGIN) $(COMPONENT) $(CREATED_BY) $(REPO_URI) $(RELEASE)' |
        awk '$1 == "Debian" && $2 == "main" && $3 == "Packages" && $5 !~ /-/ { print $4; exit }'
}

# Uses the packages that Debian's unstable suite offers on the same mirror; on a snapshot mirror, of that day.
select_unstable() {
    select_stable || return 1
    local uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=""
    uri=$(mirror)
    if [ -z "$uri" ]; then
        echo "this machine has no Debian mirror" >"$work/log"
        return 1
    fi
    [ ! -e "$keyring" ] || signed="[signed-by=$keyring] "
    use_lists unstable
    echo "deb ${signed}$uri unstable main" >"$work/unstable/sources.list"
    lists+=(-o "Dir::Etc::SourceList=$work/unstable/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Acquire::Check-Valid-Until=false)
    apt-get "${private[@]}" "${lists[@]}" update >"$work/log" 2>&1 || return 1
    offers "${private[@]}" "${lists[@]}"
}

unpack() {  # folder
    local wanted deb
    mapfile -t wanted < <(packages)
    (cd "$work/debs" && apt-get "${private[@]}" "${lists[@]}" download "${wanted[@]}") >"$work/log" 2>&1 || return 1
    mkdir -p "$1/root"
    for deb in "$work"/debs/*.deb; do
        dpkg-deb -x "$deb" "$1/root" || return 1
    done
    arrange "$1"
}

fetch() {  # suite: what is there already is not fetched again
    local name=$1 fresh
    works "$cache/$name" && return
    # A package that is not there, or does not run here, is looked for once a day; a download that failed is tried again each time.
    if [ -n "$(find "$cache/$name.failed" -mmin -1440 2>/dev/null)" ]; then
        say "no '$name' $what: $(cat "$cache/$name.failed") (remembered for a day in .cache/$program/$name.failed); tests that need it are skipped"
        return
    fi
    rm -rf "${work:?}"/*
    mkdir -p "$work/debs" "$work/cache/archives/partial"
    : >"$work/log"
    fresh=$work/unpacked
    if "select_$name" && unpack "$fresh" && works "$fresh"; then
        rm -rf "${cache:?}/$name" "$cache/$name.failed"
        # Another process may have done the same in the meantime.
        mv -T "$fresh" "$cache/$name" 2>/dev/null || works "$cache/$name"
        say "unpacked '$name': $(version "$cache/$name")"
    else
        local why
        why=$(grep -E '^(E:|W:|this)' "$work/log" | head -n 1) || true
        [ -n "$why" ] || echo "no package that runs here" >"$cache/$name.failed"
        say "no '$name' $what: ${why:-no package that runs here}; tests that need it are skipped"
    fi
}

fetch_all() {  # fetches from both suites, and writes the programs' paths, one per line, to .cache/$program/binaries
    local name
    if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
        fetch stable
        fetch unstable
    else
        say "no apt-get and dpkg-deb here; tests take $what from $otherwise"
    fi
    : >"$work/binaries"
    for name in stable unstable; do
        if works "$cache/$name"; then
            echo "$cache/$name/$program" >>"$work/binaries"
        fi
    done
    mv "$work/binaries" "$cache/binaries"
}
