# shellcheck shell=bash
# What every package begins with: the program, built or (SLIPS_BIN) given, and what it prints of itself below target/packaging: pages of
# the manual, completions, Debian's form of the changelog. To be sourced in the root of the repository; `program` is then its place.
: "${out:?where the package goes}"
mkdir -p "$out" target
if [ -n "${SLIPS_BIN:-}" ]; then
    # The makers of packages look for what they pack below the directory of builds, by this name.
    CARGO_TARGET_DIR=$(mktemp -d)
    trap 'rm -rf "$CARGO_TARGET_DIR"' EXIT
    mkdir "$CARGO_TARGET_DIR/release"
    cp "$SLIPS_BIN" "$CARGO_TARGET_DIR/release/slips"
else
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
    cargo build --release --locked --package slips
fi
export CARGO_TARGET_DIR
program=$CARGO_TARGET_DIR/release/slips
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
rm -rf target/packaging
"$program" manual target/packaging
# The same for the same commit, so that a package can be made again to the byte.
when=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
printf 'slips (%s-1) unstable; urgency=medium\n\n  * Release %s; what changed for users is in CHANGELOG.md.\n\n -- Slips maintainers <maintainers@slips.invalid>  %s\n' \
    "$version" "$version" "$(LC_ALL=C date -u -d "@$when" '+%a, %d %b %Y %H:%M:%S +0000')" >target/packaging/changelog

# The tool, the name of the crate that brings it.
needs_crate() {
    command -v "$1" >/dev/null 2>&1 || {
        echo "packaging/${0##*/}: needs $1; run: cargo install --locked $1" >&2
        exit 69
    }
}
