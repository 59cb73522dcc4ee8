# shellcheck shell=bash
# Amazon's DynamoDB Local on this machine, in memory, for trying what is kept in DynamoDB. Sourced; stack_at says where.

. "$(dirname "${BASH_SOURCE[0]}")/stack.sh"

dynamodb_pid=''

dynamodb_call() {
    curl -sf --aws-sigv4 "aws:amz:$AWS_REGION:dynamodb" -K - -H "X-Amz-Target: DynamoDB_20120810.$1" \
        -H 'Content-Type: application/x-amz-json-1.0' -d "$2" "$AWS_ENDPOINT_URL_DYNAMODB/" \
        <<<"user = \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\""
}

# Exports what orderlog needs to find it. Ends with 77 when it cannot be had.
dynamodb_start() {
    local libs port deadline
    libs=$("$tools/dynamodb/get") || return $?
    free_port port
    export AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
    export AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
    java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.library.path="$libs" -cp "$libs/*" \
        com.amazonaws.services.dynamodbv2.local.main.ServerRunner -inMemory -disableTelemetry -port "$port" \
        >"$logs/dynamodb.log" 2>&1 7>&- &
    dynamodb_pid=$!
    deadline=$(($(uptime_s) + 120))
    until dynamodb_call ListTables '{}' >/dev/null; do
        kill -0 "$dynamodb_pid" 2>/dev/null && [ "$(uptime_s)" -lt "$deadline" ] ||
            die "DynamoDB Local does not start: $(tail -n 3 "$logs/dynamodb.log")"
        sleep 0.2
    done
}

# dynamodb_table NAME: as infra/aws/data.yaml makes those of claims and views.
dynamodb_table() {
    dynamodb_call CreateTable "{\"TableName\": \"$1\", \"BillingMode\": \"PAY_PER_REQUEST\",
        \"AttributeDefinitions\": [{\"AttributeName\": \"id\", \"AttributeType\": \"S\"}],
        \"KeySchema\": [{\"AttributeName\": \"id\", \"KeyType\": \"HASH\"}]}" >/dev/null || die "no table $1 can be made"
}

# dynamodb_table_sessions NAME: as infra/aws/data.yaml makes that of sessions.
dynamodb_table_sessions() {
    dynamodb_call CreateTable "{\"TableName\": \"$1\", \"BillingMode\": \"PAY_PER_REQUEST\",
        \"AttributeDefinitions\": [{\"AttributeName\": \"kind\", \"AttributeType\": \"S\"},
            {\"AttributeName\": \"id\", \"AttributeType\": \"S\"}, {\"AttributeName\": \"revoked_us\", \"AttributeType\": \"N\"}],
        \"KeySchema\": [{\"AttributeName\": \"kind\", \"KeyType\": \"HASH\"}, {\"AttributeName\": \"id\", \"KeyType\": \"RANGE\"}],
        \"LocalSecondaryIndexes\": [{\"IndexName\": \"by_time\",
            \"KeySchema\": [{\"AttributeName\": \"kind\", \"KeyType\": \"HASH\"},
                {\"AttributeName\": \"revoked_us\", \"KeyType\": \"RANGE\"}],
            \"Projection\": {\"ProjectionType\": \"INCLUDE\", \"NonKeyAttributes\": [\"expires_at\"]}}]}" >/dev/null &&
        dynamodb_call UpdateTimeToLive "{\"TableName\": \"$1\",
            \"TimeToLiveSpecification\": {\"AttributeName\": \"expires_at\", \"Enabled\": true}}" >/dev/null ||
        die "no table $1 can be made"
}
