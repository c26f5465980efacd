#!/bin/sh
# Pin requirements/*.in into *.lock: every wheel by hash, for x86-64 and arm64, Python 3.11 and later, and no index address,
# so that any mirror will do. Run it after a change of *.in, or with --upgrade to move everything forward. Wants uv on PATH.
set -eu
cd "$(dirname "$0")/.."
compile() {
    name=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
        --no-emit-find-links --custom-compile-command "requirements/lock.sh" \
        "requirements/$name.in" -o "requirements/$name.lock" "$@"
    echo "requirements/$name.lock: $(grep -c '==' "requirements/$name.lock") packages"
}
compile services "$@"
compile edge -c requirements/services.lock "$@"
compile dev -c requirements/services.lock "$@"
compile node "$@"
