#!/bin/bash
# Fuzzing with coverage: each target for SECONDS (default 60), or those named. What kills a decoder is left as
# .test/fuzz/crash-*; put it into Tests/Fuzzing/Corpus/<target> together with the mend.
set -eu
cd "$(dirname "$0")/.."
seconds=${SECONDS_EACH:-60}
# libFuzzer comes with the toolchain. The program has a main of its own, so its driver must be asked for.
swift build --scratch-path .build-fuzz -Xswiftc -sanitize=fuzzer -Xlinker -u -Xlinker LLVMFuzzerRunDriver --product fuzzer
fuzzer=$PWD/.build-fuzz/debug/fuzzer
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <("$fuzzer" list)
mkdir -p .test/fuzz
failed=""
for target in "${targets[@]}"; do
    echo "== $target"
    "$fuzzer" guided "$target" ".test/fuzz/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=1024 \
        -max_len=4096 -artifact_prefix=".test/fuzz/" -print_final_stats=1 >".test/fuzz/$target.log" 2>&1 || failed="$failed $target"
    grep -E "^(stat::number_of_executed_units|Fatal error|.*crash-)|Test unit written" ".test/fuzz/$target.log" || true
done
[ -z "$failed" ] || { echo "failed:$failed (logs in .test/fuzz)" >&2; exit 1; }
