#!/usr/bin/env bash
# Installs what the tests need and runs them all: format, lints, unit, integration and policy tests, then the lab.
# Every part runs even if an earlier one failed; the last lines say what failed and what was skipped, by name.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo"

usage() {
    cat <<TEXT
usage: ./tests/run.sh [--no-install] [--no-lab] [--help]

  --no-install   use what is there; what is missing is skipped by name
  --no-lab       leave out tests/lab (routers, attackers and clients in network namespaces)

As root everything runs. As a user, packages and the lab go through sudo if it asks no question; otherwise they are
skipped and named. With CI=true it is a failure if a part is skipped for want of root or of a tool.
TEXT
}

install=yes lab=yes
while [ $# -gt 0 ]; do
    case $1 in
        --no-install) install=no ;;
        --no-lab) lab=no ;;
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

CI=${CI:-false}
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
target=${CARGO_TARGET_DIR:-$repo/target}
scratch=$(mktemp -d)
venv=$target/schemathesis
guard=/usr/sbin/policy-rc.d guarded=no
trap 'lift_guard; rm -rf "$scratch"' EXIT
failed=() skipped=() summary=

have() { command -v "$1" >/dev/null 2>&1; }
step() { printf '\n== %s\n' "$*"; }
is_root() { [ "$(id -u)" = 0 ]; }
may_be_root() { is_root || sudo -n true 2>/dev/null; }
as_root() { if is_root; then "$@"; else sudo -n "$@"; fi; }
part() {
    local name=$1 began=$SECONDS
    shift
    step "$name"
    if "$@"; then printf '   %s: ok, %ss\n' "$name" $((SECONDS - began)); else
        printf '   %s: FAILED, %ss\n' "$name" $((SECONDS - began))
        failed+=("$name")
    fi
}

# Each tool of the lab and the package that brings it.
tools=(nft:nftables ip:iproute2 nmap:nmap hydra:hydra hping3:hping3 sshd:openssh-server redis-server:redis-server
    curl:curl jq:jq tcpdump:tcpdump python3:python3 ping:iputils-ping dig:bind9-dnsutils ufw:ufw
    firewalld:firewalld dbus-daemon:dbus-daemon fail2ban-server:fail2ban dnsmasq:dnsmasq-base openssl:openssl
    arpspoof:dsniff iodine:iodine dns2tcpc:dns2tcp smbd:samba smbclient:smbclient dhcpstarv:dhcpstarv systemctl:systemd pgrep:procps
    mmdebstrap:mmdebstrap dpkg-shlibdeps:dpkg-dev strip:binutils
    lintian:lintian rpm:rpm nfpcapd:nfdump argus:argus-server ra:argus-client softflowd:softflowd)

lift_guard() {
    if [ $guarded = yes ]; then as_root rm -f $guard; fi
    guarded=no
}

install_tools() {
    local missing=() pair unit
    for pair in "${tools[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin have "${pair%%:*}" || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! may_be_root; then
        printf '   needs root: sudo apt-get install %s\n' "${missing[*]}"
        return 0
    fi
    printf '   packages to install: %s\n' "${missing[*]}"
    # The tests start their own sshd and redis; the machine must not get new services from a test run.
    if [ ! -e $guard ]; then
        guarded=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee $guard >/dev/null
        as_root chmod 0755 $guard
    fi
    if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y \
            --no-install-recommends "${missing[@]}"; } >"$scratch/apt.log" 2>&1; then
        cat "$scratch/apt.log"
        failed+=("packages: ${missing[*]}")
    fi
    lift_guard
    if [ -d /run/systemd/system ]; then
        for unit in openssh-server:ssh redis-server:redis-server ufw:ufw firewalld:firewalld fail2ban:fail2ban samba:smbd samba:nmbd \
            nfdump:nfdump argus-server:argus softflowd:softflowd; do
            case " ${missing[*]} " in *" ${unit%%:*} "*) as_root systemctl disable --quiet "${unit#*:}" || true ;; esac
        done
    fi
}

# Debian 12 has it among its backports alone: they are asked beside the sources of the machine, which stay as they are.
install_suricata() {
    local release='' sources=$scratch/sources.list.d options
    PATH=$PATH:/usr/sbin:/sbin have suricata && return 0
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null) || true
    [ "$release" = bookworm ] && may_be_root || return 0
    echo "   package to install: suricata, of $release-backports"
    mkdir -p "$sources" "$scratch/lists/partial"
    cp -a /etc/apt/sources.list.d/. "$sources" 2>/dev/null || true
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release-backports main" \
        >"$sources/slips-backports.list"
    options=(-qq -o "Dir::Etc::SourceParts=$sources" -o "Dir::State::Lists=$scratch/lists" -o Dpkg::Use-Pty=0)
    if [ ! -e $guard ]; then
        guarded=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee $guard >/dev/null
        as_root chmod 0755 $guard
    fi
    { as_root apt-get "${options[@]}" update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install -y --no-install-recommends \
            -t "$release-backports" suricata; } >"$scratch/suricata.log" 2>&1 ||
        echo "   suricata cannot be installed here; the test that runs it is skipped by name"
    lift_guard
    if [ -d /run/systemd/system ]; then as_root systemctl disable --quiet suricata 2>/dev/null || true; fi
}

# From PyPI, in a place of its own; the lab asks the control API by it.
install_schemathesis() {
    [ ! -x "$venv/bin/schemathesis" ] || return 0
    python3 -c 'import ensurepip' 2>/dev/null || as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        python3-venv >/dev/null 2>&1 || true
    { python3 -m venv "$venv" && "$venv/bin/pip" install -q 'schemathesis==4.*'; } >"$scratch/schemathesis.log" 2>&1 ||
        echo "   schemathesis cannot be installed here; the test that runs it is skipped by name"
}

if [ "$install" = yes ]; then
    step "Installing what the tests need"
    ./install.sh --build-deps
    install_tools
    install_suricata
    for tool in cargo-deb cargo-generate-rpm; do
        have $tool && continue
        echo "   building $tool (once)"
        # It packs a handful of files: nobody waits for it to be fast.
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off cargo install --locked $tool ||
            echo "   $tool cannot be built here"
    done
    install_schemathesis
    if ! have cargo-nextest; then
        echo "   building cargo-nextest (once)"
        cargo install --locked cargo-nextest || echo "   cargo-nextest cannot be built here; cargo test takes its place"
    fi
fi
have cargo || {
    echo "tests/run.sh: no cargo; run ./install.sh --build-deps" >&2
    exit 1
}
for pair in "${tools[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin have "${pair%%:*}" || skipped+=("tests that need ${pair%%:*}: package ${pair#*:} is missing")
done
is_root || skipped+=("tests of capture, firewall and namespaces in cargo's own run: need root")

# Every test that cannot run prints `skipped: NAME: REASON`; nextest keeps the output of passing tests in junit.xml.
collect_skips() {
    local line
    while IFS= read -r line; do skipped+=("$line"); done < <(
        sed -n 's/.*skipped: //p' "$@" 2>/dev/null | sed 's/&quot;/"/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g' | sort -u
    )
}

# A newer clippy knows lints that the code was never held against: then they are shown, and fail nothing.
lints() {
    local known=1.95 rustc deny=(-- -D warnings)
    rustc=$(rustc --version | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    if [ "$(printf '%s\n%s\n' "$known" "$rustc" | sort -V | tail -n 1)" != "$known" ]; then
        echo "   clippy of Rust $rustc is newer than $known: its warnings do not fail the run"
        deny=()
    fi
    cargo clippy --workspace --all-targets --locked "${deny[@]}"
}

# A workspace of its own, which an interface that changed could break in silence. Checked only: the fuzzer's C++ is left out by
# naming a library that nobody links.
fuzz_targets() {
    CUSTOM_LIBFUZZER_PATH=$repo/target/libnone.a CARGO_TARGET_DIR=$target \
        cargo check --manifest-path fuzz/Cargo.toml --all-targets --locked
}

# What is off by default is checked only.
features() { cargo check --package slips --bins --features mdns --locked; }

unit_tests() {
    local status=0 junit=$repo/target/nextest/ci/junit.xml
    rm -f "$junit" "$target/debug/slips"
    if have cargo-nextest; then
        cargo nextest run --workspace --locked --profile ci 2>&1 | tee "$scratch/tests.log" || status=$?
        collect_skips "$junit"
        summary=$(grep -E '^ *(.\[[0-9;]*m)*Summary ' "$scratch/tests.log" | tail -n 1 || true)
    else
        cargo test --workspace --locked --no-fail-fast -- --nocapture 2>&1 | tee "$scratch/tests.log" || status=$?
        collect_skips "$scratch/tests.log"
        summary=$(awk '/^test result:/ { p += $4; f += $6 } END { printf "     Summary (cargo test) %d passed, %d failed", p, f }' \
            "$scratch/tests.log")
    fi
    return $status
}

# The lab drives the binary that the tests above built, and never an older one: one build for all. (A cargo build of its
# own would resolve features otherwise and compile half of the crates again.)
lab_tests() {
    local status=0
    [ -n "${SLIPS_BIN:-}" ] || [ -x "$target/debug/slips" ] || {
        echo "   no binary: the tests above did not compile"
        return 1
    }
    as_root env PATH="$PATH:/usr/sbin:/sbin" CI="$CI" SLIPS_BIN="${SLIPS_BIN:-$target/debug/slips}" SCHEMATHESIS="$venv/bin/schemathesis" \
        bash tests/lab/run.sh 2>&1 | tee "$scratch/lab.log" || status=$?
    collect_skips "$scratch/lab.log"
    return $status
}

part "format" cargo fmt --all --check
part "lints" lints
part "fuzz targets" fuzz_targets
part "features" features
part "unit, integration and policy tests" unit_tests
if [ "$lab" = no ]; then
    skipped+=("lab: left out by --no-lab")
elif [ ! -e tests/lab/run.sh ]; then
    skipped+=("lab: tests/lab/run.sh is not there yet")
elif ! may_be_root; then
    skipped+=("lab: needs root (sudo ./tests/run.sh)")
else
    part "lab" lab_tests
fi

step "Result after ${SECONDS}s"
for line in ${skipped[@]+"${skipped[@]}"}; do
    printf '   skipped: %s\n' "$line"
    # Root and tools can be had in CI; corpora, or what a kernel lacks, cannot.
    case $line in
        *need* | *--no-lab*) [ "$CI" != true ] || failed+=("skipped in CI: $line") ;;
    esac
done
for line in ${failed[@]+"${failed[@]}"}; do printf '   FAILED: %s\n' "$line"; done
if [ -n "$summary" ]; then printf '%s\n' "$summary"; fi
[ ${#failed[@]} -eq 0 ]
