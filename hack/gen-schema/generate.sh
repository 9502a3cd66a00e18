#!/bin/sh
# Makes the schema table in Sources/KubeAPI/Schema/Generated. With --check it only compares: 0 equal, 1 different,
# 2 the Go sources are not there and cannot be fetched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
sources=$root/.build/gen-schema/usr/share/gocode/src
out=$root/Sources/KubeAPI/Schema/Generated
if [ "${1:-}" = --check ]; then
    [ -d "$sources" ] || exit 2
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    python3 -B "$here/gen.py" "$sources" "$made" >/dev/null
    diff -r "$made" "$out"
else
    sh "$here/fetch.sh" "$root/.build/gen-schema" >/dev/null
    python3 -B "$here/gen.py" "$sources" "$out"
fi
