#!/usr/bin/env bash
# Prints where Apicurio's schema registry is, fetched by Maven into var/ once, and compared with what it was when this was
# written. Ends with 77 when it cannot be had here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../infra/local/stack.sh"

version=2.6.13.Final
sum=3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1
folder=$root/var/apicurio-$version
log=$root/var/logs/apicurio-get.log

cannot() {
    say "Apicurio cannot be had: $*"
    exit 77
}

command -v java >/dev/null || cannot "there is no java"
kafka_java_is_new_enough || cannot "java is older than 17: $(java -version 2>&1 | head -n 1)"
need_var
mkdir -p "$root/var/logs"
exec 8>"$root/var/apicurio.lock"
flock 8
if [ ! -d "$folder" ]; then
    command -v mvn >/dev/null || cannot "there is no mvn"
    new=$root/var/apicurio-new
    say "Fetching Apicurio (140 MB, once)"
    rm -rf "$new"
    mkdir -p "$new/it"
    mvn -q -B -C -Dmaven.repo.local="$new/repository" "$plugin:copy" -DoutputDirectory="$new" \
        -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" </dev/null >"$log" 2>&1 ||
        cannot "Maven says $(grep -m 1 ERROR "$log" || tail -n 1 "$log")"
    archive=$new/apicurio-registry-app-$version-all.tar.gz
    echo "$sum  $archive" | sha256sum --quiet -c >"$log" 2>&1 || cannot "the archive is not the one that was tested with"
    tar -xzf "$archive" -C "$new/it"
    mv "$new/it" "$folder"
    rm -rf "$new"
fi
echo "$folder/apicurio-registry-app-$version-runner.jar"
