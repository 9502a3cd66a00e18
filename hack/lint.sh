#!/bin/bash
# What a reviewer should not have to say: format, import directions, no Foundation, file sizes.
set -u
cd "$(dirname "$0")/.."
failed=0
say() { echo "lint: $*" >&2; failed=1; }

swift format lint --strict --parallel --recursive Sources Tests Package.swift || say "swift format: run 'swift format -i -r Sources Tests Package.swift'"

found=$(git grep -nE '^(@_implementationOnly |@preconcurrency |internal |private |package |public )?import Foundation' -- Sources) &&
    say "Foundation in the product: $found"
for rule in 'Glibc:Linux' 'CSQLite:Store' 'COpenSSL:Transport' 'CSeccomp:Containers' 'CYaml:Codecs' 'CNghttp2:GRPC'; do
    library=${rule%%:*} owner=${rule##*:}
    found=$(git grep -lE "^(@_exported |internal |private |package )?import $library\$" -- Sources ":!Sources/$owner") &&
        say "$library is imported by $owner only: $found"
done

# About 400 lines is long, 800 is too long. Generated tables are exempt.
long=$(git ls-files 'Sources/*.swift' 'Sources/*.c' 'Sources/*.h' 'Tests/*.swift' 'Tests/*.py' | grep -v /Generated/ |
    xargs wc -l | awk '$2 != "total" && $1 > 800 {print $2 " (" $1 " lines)"}')
[ -z "$long" ] || say "files over 800 lines: $long"

if [ "${LINT_IMPORTS:-1}" = 1 ]; then
    log=$(mktemp)
    swift build --explicit-target-dependency-import-check error >"$log" 2>&1 ||
        { grep -E 'error' "$log" | head -20 >&2; say "a module imports another that Package.swift does not give it"; }
    rm -f "$log"
fi
[ $failed = 0 ] && echo "lint: clean"
exit $failed
