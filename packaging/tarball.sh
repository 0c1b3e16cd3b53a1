#!/usr/bin/env bash
# Packs the program with its installer into DIR (default target/tarball), for machines without a compiler. usage: packaging/tarball.sh [DIR]
# SLIPS_BIN names a program to pack instead of building one. The same commit and program give the same file, to the byte.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-target/tarball}
. packaging/program.sh
name=slips-$version-$(uname -m)
stage=$(mktemp -d)
trap 'rm -rf "$stage"; [ -z "${SLIPS_BIN:-}" ] || rm -rf "$CARGO_TARGET_DIR"' EXIT
mkdir "$stage/$name"
# The installer takes the program from here instead of building it.
install -D -m 0755 "$program" "$stage/$name/bin/slips"
install -m 0755 install.sh "$stage/$name/"
install -m 0644 README.md CHANGELOG.md LICENSE Cargo.toml "$stage/$name/"
cp -R config systemd docs "$stage/$name/"
rm -rf "$stage/$name/systemd/src" "$stage/$name/systemd/Cargo.toml"
mkdir -p "$stage/$name/packaging" "$stage/$name/slips_files/input"
cp -R slips_files/input/zeek-scripts "$stage/$name/slips_files/input/"
cp -R packaging/openwrt "$stage/$name/packaging/"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$when" -C "$stage" -c "$name" | gzip -9n >"$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
ls "$out/$name.tar.gz"
