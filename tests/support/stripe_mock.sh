#!/usr/bin/env bash
# Prints where stripe-mock is, built into var/ of this recorded version if it is not there yet. Stripe's own OpenAPI is
# part of it. Ends with 77 when it cannot be had here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../infra/local/common.sh"

version=v0.203.0
folder=$root/var/stripe-mock-$version

cannot() {
    say "stripe-mock cannot be had: $*"
    exit 77
}

[ ! -x "$folder/stripe-mock" ] || {
    echo "$folder/stripe-mock"
    exit 0
}
command -v go >/dev/null || cannot "there is no go"
go version | grep -qE 'go(1\.(2[1-9]|[3-9][0-9])|[2-9])' || cannot "go is older than 1.21: $(go version)"
need_var
exec 8>"$root/var/stripe-mock.lock"
flock 8
if [ ! -x "$folder/stripe-mock" ]; then
    work=$root/var/stripe-mock-build
    rm -rf "$work"
    mkdir -p "$work"
    GOBIN=$work/bin GOPATH=$work/path GOCACHE=$work/cache GOFLAGS=-modcacherw \
        go install "github.com/stripe/stripe-mock@$version" >"$work/log" 2>&1 || cannot "$(tail -n 1 "$work/log")"
    mkdir -p "$folder"
    mv "$work/bin/stripe-mock" "$folder/"
    rm -rf "$work"
fi
echo "$folder/stripe-mock"
