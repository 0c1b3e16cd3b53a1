#!/usr/bin/env bash
# Installs Slips: builds it from this clone, or takes the program that came with this script (packaging/tarball.sh).
# `./install.sh --help` says everything.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
rust_floor=$(sed -n 's/^rust-version = "\([0-9]*\.[0-9]*\).*/\1/p' "$here/Cargo.toml")

# What the build links (nftables' libraries, SQLite's C source) and what the daemon and the demo call (ip).
packages=(gcc libc6-dev pkg-config libnftnl-dev libmnl-dev iproute2 ca-certificates)
# What a program that is built needs.
runtime=(libnftnl11 libmnl0 iproute2 ca-certificates)
# A program that was built elsewhere: then there is nothing to build.
built=$here/bin/slips

usage() {
    cat <<TEXT
usage: sudo ./install.sh [--no-start] [--build-deps] [--uninstall [--purge]] [--help]

Installs what Slips needs (Debian packages; the Rust toolchain if there is none of at least $rust_floor), builds it,
installs the program, its configuration and its systemd files, and starts the service. Running it again updates.
Beside a program that is built (bin/slips, as in the tarball) nothing is built, and no toolchain installed.

  --no-start     install, but neither enable nor start the service
  --build-deps   only install the packages and the toolchain that a build needs, then stop
  --uninstall    stop the service, lift all blocks, remove what was installed; keeps configuration and state
  --purge        with --uninstall: remove those and the user 'slips' as well

environment:
  PREFIX         where the program goes (default /usr/local)
  DESTDIR        a staging directory put before every path; then no package is installed, no user made, nothing
                 started, and root is not needed
  CARGO_TARGET_DIR   where the build happens (default: target/ in this clone)

Configuration is in /etc/slips. A file there that was changed by hand is never overwritten: the new default is put
beside it as FILE.new.
TEXT
}

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

action=install start=yes purge=no
while [ $# -gt 0 ]; do
    case $1 in
        --no-start) start=no ;;
        --build-deps) action=deps ;;
        --uninstall) action=uninstall ;;
        --purge) purge=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 64
            ;;
    esac
    shift
done
[ "$purge" = no ] || [ "$action" = uninstall ] || die "--purge goes with --uninstall only"
[ "$(uname -s)" = Linux ] || die "Slips runs on Linux only"
case $PREFIX in /*) ;; *) die "PREFIX must be an absolute path, not '$PREFIX'" ;; esac
case $DESTDIR in '' | /*) ;; *) die "DESTDIR must be an absolute path, not '$DESTDIR'" ;; esac
DESTDIR=${DESTDIR%/}

# systemd looks below /usr/lib and /usr/local/lib, nowhere else that a prefix could name.
case $PREFIX in /usr | /usr/local) lib=$PREFIX/lib ;; *) lib=/usr/local/lib ;; esac
bin=$PREFIX/bin/slips
sums=$PREFIX/share/slips/config.sha256
etc=/etc/slips

is_root() { [ "$(id -u)" = 0 ]; }
systemd_runs() { [ -d /run/systemd/system ] && have systemctl; }

# Root, or a sudo that asks no questions.
as_root() {
    if is_root; then "$@"; else sudo -n "$@"; fi
}

# The clone's owner builds, not root: build scripts need no privilege, and target/ stays usable without sudo.
builder=$(id -un)
if is_root && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] && [ "$(stat -c %U "$here")" = "$SUDO_USER" ]; then
    builder=$SUDO_USER
fi
builder_home=$(getent passwd "$builder" | cut -d: -f6)
[ "$builder" != "$(id -un)" ] || builder_home=${HOME:-$builder_home}

as_builder() {
    local path="${CARGO_HOME:-$builder_home/.cargo}/bin:$PATH"
    if [ "$builder" = "$(id -un)" ]; then
        (cd "$here" && PATH=$path "$@")
    else
        (cd "$here" && runuser -u "$builder" -- env HOME="$builder_home" PATH="$path" "$@")
    fi
}

install_packages() {
    local missing=() name
    have dpkg-query || die "this script knows Debian and Ubuntu; elsewhere install ${packages[*]} (or their likes) and Rust >= $rust_floor, then: cargo build --release --locked"
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "packages to install: ${missing[*]}"
    if ! is_root && ! sudo -n true 2>/dev/null; then
        die "needs root to install packages; run: sudo apt-get install ${missing[*]}"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update || die "apt-get update did not work; is the network up?"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" ||
        die "apt-get could not install: ${missing[*]}"
}

# The version of the toolchain that a build in this clone would use; empty if there is none.
rust_version() {
    as_builder sh -c 'command -v cargo >/dev/null && rustc --version' 2>/dev/null | sed -n 's/^rustc \([0-9.]*\).*/\1/p'
}
rust_is_new_enough() {
    local found
    found=$(rust_version)
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$rust_floor" "$found" | sort -V | head -n 1)" = "$rust_floor" ]
}
deb_candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -Eq '^ *Candidate: [0-9]'; }
deb_installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -q '^installed'; }

install_rust() {
    if [ "$builder" != "$(id -un)" ] && ! rust_is_new_enough; then
        local owner=$builder owner_home=$builder_home
        builder=$(id -un) builder_home=$HOME
        # Only root has a toolchain: then root builds.
        rust_is_new_enough || builder=$owner builder_home=$owner_home
    fi
    if rust_is_new_enough; then
        say "Rust $(rust_version) is there"
        return 0
    fi
    # Debian's rustup package shuts out Debian's rustc, which somebody may need: then rustup goes to the builder's home.
    if ! as_builder sh -c 'command -v rustup' >/dev/null 2>&1 && deb_candidate rustup &&
        ! deb_installed rustc && ! deb_installed cargo; then
        install_packages rustup
    fi
    if ! as_builder sh -c 'command -v rustup' >/dev/null 2>&1; then
        install_packages curl
        # The file that https://sh.rustup.rs leads to, from the host that the toolchain comes from: one to reach, not two.
        say "installing rustup for $builder from https://static.rust-lang.org"
        # shellcheck disable=SC2016 # the inner shell expands these
        as_builder sh -c 'script=$(mktemp) && trap "rm -f $script" EXIT &&
            curl --proto "=https" --tlsv1.2 --retry 3 -sSf https://static.rust-lang.org/rustup/rustup-init.sh -o "$script" &&
            sh "$script" -y --quiet --no-modify-path --profile minimal --default-toolchain none' ||
            die "could not install rustup; install Rust >= $rust_floor by hand, then run this again"
    fi
    as_builder rustup toolchain install stable --profile minimal --component rustfmt --component clippy ||
        die "rustup could not install the stable toolchain"
    rust_is_new_enough || die "needs Rust >= $rust_floor, found $(rust_version)"
    say "Rust $(rust_version) is installed for $builder"
}

# A file of the system: source, place, mode. At once, since what is replaced may be called at any moment.
put() {
    install -D -m "$3" "$1" "$DESTDIR$2.slips-new"
    mv -f "$DESTDIR$2.slips-new" "$DESTDIR$2"
    say "  $2"
}

# A file of the administrator: a changed one stays, the new default goes beside it.
put_config() {
    local from=$1 to=$2 new old now known
    new=$(sha256sum <"$from" | cut -d' ' -f1)
    known=$(awk -v f="$to" '$2 == f { print $1 }' "$DESTDIR$sums" 2>/dev/null || true)
    if [ -e "$DESTDIR$to" ]; then
        now=$(sha256sum <"$DESTDIR$to" | cut -d' ' -f1)
        if [ "$now" = "$new" ]; then
            say "  $to (unchanged)"
        elif [ "$now" = "$known" ]; then
            install -m 0640 "$from" "$DESTDIR$to"
            say "  $to (updated)"
        elif [ "$new" = "$known" ]; then
            say "  $to (changed by hand, stays)"
        else
            install -m 0640 "$from" "$DESTDIR$to.new"
            say "  $to was changed by hand and stays; the new default is $to.new"
        fi
    else
        install -d -m 0750 "$DESTDIR$(dirname "$to")"
        install -m 0640 "$from" "$DESTDIR$to"
        say "  $to"
    fi
    old=$(awk -v f="$to" '$2 != f' "$DESTDIR$sums" 2>/dev/null || true)
    printf '%s\n' ${old:+"$old"} "$new  $to" >"$DESTDIR$sums"
}

install_files() {
    local target=${CARGO_TARGET_DIR:-$here/target} unit file pages
    step "Installing"
    case $target in /*) ;; *) target=$here/$target ;; esac
    [ -x "$built" ] || built=$target/release/slips
    put "$built" "$bin" 0755
    install -d -m 0755 "$DESTDIR$(dirname "$sums")"
    install -d -m 0750 "$DESTDIR$etc"
    while IFS= read -r -d '' file; do
        put_config "$file" "$etc/${file#"$here/config/"}"
    done < <(find "$here/config" -type f -print0 | sort -z)
    unit=$(mktemp)
    for file in slips.service slips.socket slips-blocks.service slips-p2p.service slips-failure@.service slips.catalog; do
        sed "s|/usr/bin/slips|$bin|g; s|/usr/share/doc|$PREFIX/share/doc|g" "$here/systemd/$file" >"$unit"
        case $file in
            *.service | *.socket) put "$unit" "$lib/systemd/system/$file" 0644 ;;
            *.catalog) put "$unit" "$lib/systemd/catalog/slips.catalog" 0644 ;;
        esac
    done
    rm -f "$unit"
    put "$here/systemd/sysusers.d/slips.conf" "$lib/sysusers.d/slips.conf" 0644
    put "$here/systemd/tmpfiles.d/slips.conf" "$lib/tmpfiles.d/slips.conf" 0644
    for file in "$here"/slips_files/input/zeek-scripts/*.zeek; do
        put "$file" "/usr/share/slips/zeek/${file##*/}" 0644
    done
    for file in "$here/README.md" "$here"/docs/*.md; do
        put "$file" "$PREFIX/share/doc/slips/${file##*/}" 0644
    done
    pages=$(mktemp -d)
    "$built" manual "$pages"
    for file in "$pages"/*.[158]; do
        put "$file" "$PREFIX/share/man/man${file##*.}/${file##*/}" 0644
    done
    put "$pages/slips.bash" "$PREFIX/share/bash-completion/completions/slips" 0644
    rm -rf "$pages"
}

# The user, the directories and their modes; both tools work without a running systemd.
prepare_system() {
    if have systemd-sysusers; then
        systemd-sysusers "$lib/sysusers.d/slips.conf"
    elif ! getent passwd slips >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir /var/lib/slips --shell /usr/sbin/nologin slips
    fi
    if have systemd-tmpfiles; then
        systemd-tmpfiles --create "$lib/tmpfiles.d/slips.conf"
    else
        install -d -m 0750 -o slips -g slips /var/lib/slips
        chown root:slips "$etc"
    fi
    # The daemon reads what was installed; files that the administrator added keep their modes (some hold secrets).
    local file
    while read -r _ file; do
        if [ -e "$file" ]; then chgrp slips "$file" "$(dirname "$file")"; fi
    done <"$sums"
    if have journalctl; then journalctl --update-catalog || true; fi
}

start_service() {
    systemctl daemon-reload
    if [ "$start" = no ]; then
        say "installed, not started; start it with: systemctl enable --now slips"
        return 0
    fi
    systemctl enable --quiet slips.service
    # Type=notify: this returns when Slips says that it watches, or when it gave up.
    if ! systemctl restart slips.service; then
        systemctl --no-pager --full status slips.service >&2 || true
        journalctl --no-pager -u slips.service -n 20 >&2 || true
        die "slips.service did not start; the lines above say why"
    fi
    say "slips.service is running"
    say "  what it does:   systemctl status slips"
    say "  what it found:  journalctl -u slips -x"
}

# Two of them would share one configuration, one state and one user.
refuse_beside_package() {
    if [ -z "$DESTDIR" ] && deb_installed slips; then die "the package slips is installed; remove it first: apt-get remove slips"; fi
}

build() {
    step "What the build needs"
    [ -n "$DESTDIR" ] || install_packages "${packages[@]}"
    if [ -n "$DESTDIR" ]; then
        rust_is_new_enough || die "needs Rust >= $rust_floor; run: ./install.sh --build-deps"
        say "Rust $(rust_version) is there"
    else
        install_rust
    fi

    step "Building (a few minutes the first time)"
    as_builder env ${CARGO_TARGET_DIR:+CARGO_TARGET_DIR="$CARGO_TARGET_DIR"} cargo build --release --locked --package slips ||
        die "the build did not work; see above"
}

# The libraries by package where Debian is, by what the loader says elsewhere.
use_built() {
    local lacking
    step "What the program needs"
    if [ -z "$DESTDIR" ] && have dpkg-query; then install_packages "${runtime[@]}"; fi
    lacking=$(ldd "$built" 2>&1 | sed -n 's/^[[:space:]]*\(.*\) => not found.*/\1/p; s/.*\(version .* not found\).*/\1/p' | paste -sd ' ' -)
    [ -z "$lacking" ] || die "$built does not run here, this machine lacks: $lacking"
    "$built" --version || die "$built does not run on this machine"
}

do_install() {
    [ -n "$DESTDIR" ] || is_root || die "must run as root (sudo ./install.sh), or with DESTDIR for a staged install"
    refuse_beside_package
    if [ -x "$built" ]; then use_built; else build; fi

    install_files
    if [ -n "$DESTDIR" ]; then
        say "staged in $DESTDIR"
        return 0
    fi
    prepare_system
    "$bin" check-config "$etc/slips.yaml" ||
        die "$etc/slips.yaml is not accepted (see above); the service was left as it was. Repair it and run this again."

    step "Service"
    if systemd_runs; then
        start_service
    else
        say "systemd is not running here, so nothing was started. In the foreground Slips runs with:"
        say "  $bin run -c $etc/slips.yaml"
    fi
}

do_uninstall() {
    [ -n "$DESTDIR" ] || is_root || die "must run as root (sudo ./install.sh --uninstall)"
    [ "$purge" = no ] || refuse_beside_package
    if [ -z "$DESTDIR" ]; then
        if systemd_runs; then
            systemctl disable --now --quiet slips.service 2>/dev/null || true
        fi
        if [ -x "$bin" ]; then
            "$bin" firewall flush || say "could not lift the blocks; 'nft delete table inet slips' does it by hand"
        fi
    fi
    local file
    for file in "$bin" "$PREFIX/share/bash-completion/completions/slips" "$lib/systemd/system/slips.service" "$lib/systemd/system/slips-blocks.service" "$lib/systemd/system/slips-p2p.service" "$lib/systemd/system/slips-failure@.service" "$lib/systemd/system/slips.socket" "$lib/sysusers.d/slips.conf" "$lib/tmpfiles.d/slips.conf" \
        "$lib/systemd/catalog/slips.catalog"; do
        rm -f "$DESTDIR$file"
    done
    rm -rf "$DESTDIR$PREFIX/share/doc/slips" "$DESTDIR/usr/share/slips/zeek"
    rmdir "$DESTDIR/usr/share/slips" 2>/dev/null || true
    rm -f "$DESTDIR$PREFIX"/share/man/man1/slips.1 "$DESTDIR$PREFIX"/share/man/man1/slips-*.1 \
        "$DESTDIR$PREFIX"/share/man/man5/slips.yaml.5 "$DESTDIR$PREFIX"/share/man/man8/slips.service.8
    if [ "$purge" = yes ]; then
        rm -rf "$DESTDIR$etc" "$DESTDIR/var/lib/slips" "$DESTDIR$PREFIX/share/slips"
    fi
    if [ -z "$DESTDIR" ]; then
        if systemd_runs; then systemctl daemon-reload; fi
        if have journalctl; then journalctl --update-catalog || true; fi
        if [ "$purge" = yes ] && getent passwd slips >/dev/null; then userdel slips || true; fi
    fi
    if [ "$purge" = yes ]; then
        say "Slips is removed, with configuration and state"
    else
        say "Slips is removed; $etc and /var/lib/slips were kept (--uninstall --purge removes them)"
    fi
}

case $action in
    install) do_install ;;
    uninstall) do_uninstall ;;
    deps)
        install_packages "${packages[@]}"
        install_rust
        ;;
esac
