#!/usr/bin/env bash
# Checks what is installed beside the program: units, manual pages, completions, configurations,
# manifests, the package. `tests/operations/packages.sh PATH-OF-RINGD`, from anywhere.
#
# Each check says what it has seen. One whose tool is missing and cannot be installed is skipped, with
# the reason; the exit code is 1 if a check fails.

set -euo pipefail
binary=$(realpath "${1:?write tests/operations/packages.sh PATH-OF-RINGD}")
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
wrong=0

skip() { printf '%s: skipped: %s\n' "$1" "$2"; }
fail() { printf '%s: FAILED: %s\n' "$1" "$2"; wrong=1; }
good() { printf '%s: %s\n' "$1" "$2"; }

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# have COMMAND PACKAGE: whether the command is there, or could be installed.
have() {
    command -v "$1" >/dev/null && return
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$2" >/dev/null 2>&1 || return
    command -v "$1" >/dev/null
}

check_units() {
    have systemd-analyze systemd || { skip units "there is no systemd-analyze"; return; }
    local unit output
    # The program is not installed where the units expect it.
    for unit in docs/operations/systemd/*.s*t docs/operations/systemd/*.service; do
        sed "s,/usr/bin/ringd,$binary," "$unit" >"$scratch/$(basename "$unit")"
    done
    mv "$scratch/ringd@.service" "$scratch/ringd@a.service"
    output=$(SYSTEMD_UNIT_PATH="$scratch:" systemd-analyze verify --man=no \
        "$scratch"/ringd.service "$scratch"/ringd.socket "$scratch"/ringd@a.service 2>&1) || true
    if [ -n "$output" ]; then fail units "$output"; else good units "systemd-analyze verify is silent"; fi
    for unit in ringd.service ringd@a.service; do
        # From systemd 250 on.
        output=$(systemd-analyze security --offline=true --threshold=20 "$scratch/$unit" 2>&1) ||
            fail units "$unit is exposed more than 2.0: $(tail -n 1 <<<"$output")"
        good units "$(tail -n 1 <<<"$output")"
    done
}

check_pages() {
    cargo run --locked --quiet --example manual -- target/manual || { fail pages "no pages"; return; }
    local output
    if have mandoc mandoc; then
        output=$(mandoc -T lint -W warning target/manual/man?/* 2>&1) || true
        if [ -n "$output" ]; then fail pages "$output"; else good pages "mandoc has no warnings"; fi
    else
        skip pages "there is no mandoc"
    fi
    if ! command -v man >/dev/null; then skip pages "there is no man"; return; fi
    local page
    output=
    for page in target/manual/man?/*; do
        output+=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$page" 2>&1 >/dev/null) || true
    done
    if [ -n "$output" ]; then fail pages "$output"; else good pages "man has no warnings"; fi
}

check_completions() {
    local folder=target/manual/completions found line
    [ -d "$folder" ] || { fail completions "there are none"; return; }
    found=$(bash -c ". $folder/ringd.bash; COMP_WORDS=(ringd serve --driv) COMP_CWORD=2
        _ringd ringd --driv serve; echo \"\${COMPREPLY[*]}\"") || true
    if [[ $found == *--driver* ]]; then good completions "bash: $found"; else fail completions "bash: $found"; fi
    if have zsh zsh; then
        found=$(zsh -fc "fpath=($folder \$fpath); autoload -Uz compinit; compinit -u -D
            echo \$_comps[ringd]; autoload +X _ringd; zsh -n $folder/_ringd" 2>&1) || true
        if [ "$found" = _ringd ]; then good completions "zsh: $found"; else fail completions "zsh: $found"; fi
    else
        skip completions "there is no zsh"
    fi
    if have fish fish; then
        # An option, and the values of one before a command and after it.
        for line in "serve --driv:--driver" "--driver :epoll" "serve --driver :epoll"; do
            found=$(fish -c "source $folder/ringd.fish; complete -C 'ringd ${line%:*}'" 2>&1) || true
            if [[ $found == *"${line#*:}"* ]]; then
                good completions "fish: ringd ${line%:*}: $(head -n 1 <<<"$found")"
            else
                fail completions "fish: ringd ${line%:*}: $found"
            fi
        done
    else
        skip completions "there is no fish"
    fi
}

check_configurations() {
    local file output
    for file in docs/operations/ringd.toml docs/operations/*/ringd.toml; do
        # Its directories are those of a machine where it is installed.
        sed -e "s,^root = .*,root = \"$PWD/html\"," -e "s,/var/log/ringd,$scratch,g" \
            -e "s,/run/ringd,$scratch,g" "$file" >"$scratch/ringd.toml"
        output=$("$binary" check "$scratch/ringd.toml" 2>&1) || fail configurations "$file: $output"
        good configurations "$file: $(tail -n 1 <<<"$output")"
    done
    if have haproxy haproxy; then
        output=$(haproxy -c -f docs/operations/haproxy.cfg 2>&1) || fail configurations "$output"
        good configurations "haproxy.cfg: $(tail -n 1 <<<"$output")"
    else
        skip configurations "there is no haproxy"
    fi
    output=$(python3 - 2>&1 <<'PYTHON'
import json, os, re
profile = json.load(open("docs/operations/container/seccomp.json"))
allowed = {name for rule in profile["syscalls"] for name in rule["names"]}
needed = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
# What a server allows itself, a container has to allow.
table = "src/sandbox/filter.rs"
if os.path.exists(table):
    needed |= set(re.findall(r"^ *libc::SYS_(\w+),$", open(table).read(), re.MULTILINE))
print(f"seccomp.json allows {len(allowed)} calls, and all of {len(needed)} that ringd names")
if profile["defaultAction"] != "SCMP_ACT_ERRNO" or needed - allowed:
    raise SystemExit(f"seccomp.json lacks {sorted(needed - allowed)}")
rules = {name: [rule for rule in profile["syscalls"] if name in rule["names"]]
         for name in ("clone", "clone3", "socket", "socketpair")}
# All flags CLONE_NEW*, as in the default of Docker.
namespaces = {"index": 0, "value": 0x7e020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
if [rule.get("args") for rule in rules["clone"]] != [[namespaces]]:
    raise SystemExit("seccomp.json: clone may make namespaces")
if [(rule["action"], rule.get("errnoRet")) for rule in rules["clone3"]] != [("SCMP_ACT_ERRNO", 38)]:
    raise SystemExit("seccomp.json: clone3, whose flags a filter cannot see, is not ENOSYS")
netlink = [rule["args"][1:] for rule in rules["socket"] + rules["socketpair"]
           if rule["args"][0]["value"] == 16]
if netlink != [[{"index": 2, "value": 0, "op": "SCMP_CMP_EQ"}]]:
    raise SystemExit("seccomp.json: netlink is more than NETLINK_ROUTE")
PYTHON
    ) || { fail configurations "$output"; return; }
    good configurations "$output"
}

check_manifests() {
    local python=target/venv/bin/python version output
    if ! "$python" -c "import kubernetes_validate" 2>/dev/null; then
        python3 -m venv target/venv >/dev/null 2>&1 &&
            timeout 90 "$python" -m pip install -q kubernetes-validate >/dev/null 2>&1 ||
            { skip manifests "kubernetes-validate cannot be installed"; return; }
    fi
    for version in 1.30 1.37; do
        output=$("$(dirname "$python")/kubernetes-validate" --strict -k "$version" \
            docs/operations/kubernetes/[!k]*.yaml 2>&1) || fail manifests "$output"
        good manifests "Kubernetes $version: $(grep -c passed <<<"$output") are valid"
    done
}

check_package() {
    cargo deb --version >/dev/null 2>&1 ||
        { skip package "cargo install cargo-deb --version 3.8.0 --locked takes minutes"; return; }
    have lintian lintian || { skip package "there is no lintian"; return; }
    local output file="$scratch/ringd.deb"
    output=$(cargo deb --no-build --locked --strip --fast --output "$file" 2>&1) ||
        { fail package "$output"; return; }
    output=$(lintian --fail-on error --allow-root "$file" 2>&1) || fail package "$output"
    good package "$(stat -c %s "$file") bytes; lintian: ${output:-silent}"
}

check_units
check_pages
check_completions
check_configurations
check_manifests
check_package
exit "$wrong"
