# shellcheck shell=bash
# An S3 gateway (versitygw) on this machine, for trying the archive. Sourced; stack_at says where.

. "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

s3_pid=''

# s3_start BUCKET: with its files in DIR/s3; exports what orderlog needs to find it. Ends with 77 when there is no gateway.
s3_start() {
    local gateway port deadline
    gateway=$("$tools/s3/get") || return $?
    free_port port
    secret s3
    mkdir -p "$dir"/s3/{objects,sidecar}
    export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=orderlog-local AWS_REGION=us-east-1
    export AWS_EC2_METADATA_DISABLED=true
    AWS_SECRET_ACCESS_KEY=$(<"$secrets/s3")
    export AWS_SECRET_ACCESS_KEY
    ROOT_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID ROOT_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY \
        "$gateway" --port "127.0.0.1:$port" --health /health --quiet posix --sidecar "$dir/s3/sidecar" "$dir/s3/objects" \
        >"$logs/s3.log" 2>&1 7>&- &
    s3_pid=$!
    deadline=$(($(uptime_s) + 30))
    until curl -sf -o /dev/null "$AWS_ENDPOINT_URL_S3/health"; do
        kill -0 "$s3_pid" 2>/dev/null && [ "$(uptime_s)" -lt "$deadline" ] || die "the S3 gateway does not start: $logs/s3.log"
        sleep 0.1
    done
    # The hash of nothing: curl does not send it by itself. The secret is not for the process list.
    curl -sf -o /dev/null -X PUT --aws-sigv4 "aws:amz:$AWS_REGION:s3" -K - \
        -H "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" \
        "$AWS_ENDPOINT_URL_S3/$1" <<<"user = \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\"" ||
        die "the S3 gateway makes no bucket: $logs/s3.log"
}

s3_stop() {
    [ -z "$s3_pid" ] || kill "$s3_pid" 2>/dev/null || true
    s3_pid=''
}
