#!/bin/bash
# Writes the commit that is built into a C header, if it is another one than before.
set -eu
commit=$(git rev-parse --short=8 HEAD 2>/dev/null || echo unknown)
line="#define K3S_COMMIT \"$commit\""
[ -f "$1" ] && [ "$(cat "$1")" = "$line" ] || echo "$line" >"$1"
