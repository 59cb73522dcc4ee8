#!/usr/bin/env bash
# Prints where versitygw is, an S3 gateway that checks signatures and knows conditional writes and Object Lock; built into
# var/ of this recorded version if it is not there yet (four minutes). Ends with 77 when it cannot be had here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../infra/local/common.sh"

version=v1.8.0
folder=$root/var/versitygw-$version

cannot() {
    say "versitygw cannot be had: $*"
    exit 77
}

[ ! -x "$folder/versitygw" ] || {
    echo "$folder/versitygw"
    exit 0
}
command -v go >/dev/null || cannot "there is no go"
need_var
exec 8>"$root/var/versitygw.lock"
flock 8
if [ ! -x "$folder/versitygw" ]; then
    say "Building versitygw $version (once)"
    work=$root/var/versitygw-build
    rm -rf "$work"
    mkdir -p "$work"
    GOBIN=$work/bin GOPATH=$work/path GOCACHE=$work/cache GOFLAGS=-modcacherw \
        nice go install "github.com/versity/versitygw/cmd/versitygw@$version" >"$work/log" 2>&1 ||
        cannot "$(tail -n 1 "$work/log")"
    mkdir -p "$folder"
    mv "$work/bin/versitygw" "$folder/"
    rm -rf "$work"
fi
echo "$folder/versitygw"
