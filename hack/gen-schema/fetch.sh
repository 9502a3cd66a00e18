#!/bin/sh
# Fetches the Go sources of the Kubernetes API types that the generator reads: Debian's golang-k8s-*-dev packages,
# pinned by version and digest. They are unpacked, never installed. Usage: fetch.sh [DIRECTORY]
set -eu
directory=${1:-.build/gen-schema}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$directory"
grep -v '^#' "$(dirname "$0")/packages.tsv" | while read -r digest path; do
    file=$directory/$(basename "$path")
    if [ ! -f "$file" ]; then
        # The pool keeps a version only while a suite has it (snapshot.debian.org has all of them).
        curl -fsSL --retry 3 -o "$file.part" "$mirror/$path"
        mv "$file.part" "$file"
    fi
    echo "$digest  $file" | sha256sum --check --quiet
    dpkg-deb -x "$file" "$directory"
done
echo "$directory/usr/share/gocode/src"
