#!/usr/bin/env bash
# Builds the RPM package into DIR (default target/rpm). usage: packaging/rpm.sh [DIR [OPTION OF CARGO-GENERATE-RPM…]]
# Needs cargo-generate-rpm (`cargo install --locked cargo-generate-rpm`). SLIPS_BIN names a program to pack instead of building one.
# A program runs where the C library is not older than that of the machine that built it: build on the oldest release to serve.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-target/rpm}
shift $(($# > 0))
. packaging/program.sh
needs_crate cargo-generate-rpm
cargo generate-rpm --target-dir "$CARGO_TARGET_DIR" --source-date "$when" --auto-req builtin --payload-compress gzip --output "$out/" "$@"
ls "$out"/*.rpm
