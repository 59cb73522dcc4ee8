# shellcheck shell=bash
# What every script here needs. Sourced; the caller has set -euo pipefail.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
tools=$root/infra/local

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "${0##*/}: $*"
    exit 1
}

# Seconds since the machine started: unlike the time of day they do not jump when a clock is set.
uptime_s() {
    local seconds
    read -r seconds _ </proc/uptime
    echo "${seconds%.*}"
}

# For a value in a URL's query. Byte by byte, so that any path can be named.
urlencode() {
    local LC_ALL=C text=$1 out='' c i hex
    for ((i = 0; i < ${#text}; i++)); do
        c=${text:i:1}
        case $c in
        [a-zA-Z0-9._~/-]) out+=$c ;;
        *)
            printf -v hex '%02X' "'$c"
            out+=%${hex: -2}
            ;;
        esac
    done
    printf '%s' "$out"
}

byte_length() {
    local LC_ALL=C
    echo "${#1}"
}

port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Ports that are meant for somebody who need not listen yet; what we start knows of them, too.
export ports_promised=${ports_promised:- }

promise_ports() {
    ports_promised+="$* "
}

# free_port NAME: sets it to a port that nobody has and nobody is promised. Below those that the kernel hands to outgoing
# connections, so that it stays free while a server restarts.
free_port() {
    local found
    while found=$((20000 + RANDOM % 12000)) && { [[ $ports_promised == *" $found "* ]] || port_taken "$found"; }; do :; done
    promise_ports "$found"
    printf -v "$1" %s "$found"
}

# A var/ that another user made cannot be used: say so before anything else fails over it.
need_var() {
    mkdir -p "$root/var/logs" 2>/dev/null && [ -w "$root/var/logs" ] ||
        die "cannot write to $root/var as $(id -un); was it made by another user?"
}

# build PRESET TESTING [OPTION...]: configures where it has to, then builds. One build at a time in a checkout. Running the
# stack leaves the tests out, because they need packages that it does not; a build that has them keeps them.
build() {
    local preset=$1 testing=$2 folder=$root/build-$1 log=$root/var/logs/configure-$1.log
    shift 2
    [ "$preset" != dev ] || folder=$root/build
    need_var
    (
        cd "$root"
        flock 9
        if [ ! -e "$folder/build.ninja" ] ||
            { [ "$testing" = ON ] && ! grep -q '^BUILD_TESTING:BOOL=ON' "$folder/CMakeCache.txt"; }; then
            cmake --preset "$preset" -DBUILD_TESTING="$testing" >"$log" 2>&1 || {
                cat "$log" >&2
                exit 1
            }
        fi
        cmake --build --preset "$preset" "$@" 9>&-
    ) 9>"$root/var/build.lock" >&2 || die "the build failed"
}

# The binary to run: ORDERLOG_BIN (a sanitizer build under test) or the dev build, made now if need be.
need_binary() {
    if [ -z "${ORDERLOG_BIN:-}" ]; then
        "$tools/install"
        build dev OFF --target orderlog
        ORDERLOG_BIN=$root/build/orderlog
    fi
    [ -x "$ORDERLOG_BIN" ] || die "$ORDERLOG_BIN is not there"
    export ORDERLOG_BIN
}
