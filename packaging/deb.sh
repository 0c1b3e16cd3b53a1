#!/usr/bin/env bash
# Builds the Debian package into DIR (default target/debian). usage: packaging/deb.sh [DIR [OPTION OF CARGO-DEB…]]
# Needs cargo-deb (`cargo install --locked cargo-deb`). SLIPS_BIN names a program to pack instead of building one.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-target/debian}
shift $(($# > 0))
. packaging/program.sh
needs_crate cargo-deb
cargo deb --no-build --no-strip --output "$out/" "$@"
