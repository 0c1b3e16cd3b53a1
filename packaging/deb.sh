#!/usr/bin/env bash
# Builds the Debian package into DIR (default target/debian). usage: packaging/deb.sh [DIR [OPTION OF CARGO-DEB…]]
# Needs cargo-deb (`cargo install --locked cargo-deb`). SLIPS_BIN names a program to pack instead of building one.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo deb --version >/dev/null 2>&1 || {
    echo "packaging/deb.sh: needs cargo-deb; run: cargo install --locked cargo-deb" >&2
    exit 69
}
out=${1:-target/debian}
shift $(($# > 0))
mkdir -p "$out" target
if [ -n "${SLIPS_BIN:-}" ]; then
    # cargo-deb looks for what it packs below the directory of builds, by this name.
    CARGO_TARGET_DIR=$(mktemp -d)
    trap 'rm -rf "$CARGO_TARGET_DIR"' EXIT
    mkdir "$CARGO_TARGET_DIR/release"
    cp "$SLIPS_BIN" "$CARGO_TARGET_DIR/release/slips"
else
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
    cargo build --release --locked --package slips
fi
export CARGO_TARGET_DIR
rm -rf target/packaging
"$CARGO_TARGET_DIR/release/slips" manual target/packaging
cargo deb --no-build --no-strip --output "$out/" "$@"
