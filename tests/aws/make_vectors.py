#!/usr/bin/env python3
"""Signatures made by botocore, and tokens by AWS's MSK signer, for test_sigv4.c: make_vectors.py [--write | --check]

Needs var/venv (tests/run makes it). --write replaces vectors/sigv4.json; --check compares it with what is made now.
"""
import base64
import datetime
import json
import pathlib
import sys
from unittest import mock

import botocore.auth
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider as msk
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.credentials import Credentials

FILE = pathlib.Path(__file__).parent / "vectors/sigv4.json"
LONG_LIVED = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
SESSION = {"access_key_id": "ASIAEXAMPLE7", "secret_access_key": "Zm9v/YmFy+cXV4/==",
           "session_token": "IQoJb3JpZ2luX2VjEDc//////////wEaCXVzLWVhc3QtMSJ+example/token+with=signs=="}
DEFAULTS = {"method": "GET", "scheme": "https", "path": "/", "query": "", "headers": [], "body": "", "region": "eu-central-1",
            "time": 1440938160, "keys": LONG_LIVED, "unsigned_payload": False}


def case(name, service, **changes):
    host = changes.pop("host", f"{service}.{changes.get('region', DEFAULTS['region'])}.amazonaws.com")
    return {"name": name, **DEFAULTS, "service": service, "host": host, **changes}


def paths(service):
    odd = ["/", "//", "/a/b", "/a//b/", "/./a/../b", "/a/b/..", "/../..", "/a%20b/%E2%82%AC", "/a%2Fb", "/a+b", "/~user/-_.", "/a:b@c,d;e=f",
           "/%7Euser", "/a/.", "/$(*)!'", "/100%25", "/a=b&c", "/" + "k" * 300]
    return [case(f"{service} path {path[:20]}", service, path=path) for path in odd]


def queries(service):
    odd = ["a=1", "b=2&a=1", "a=2&a=1", "a=&b", "b&a", "a-=1&a=2", "A=1&a=2&B=3", "x=%20&y=%2B&z=%2F", "caf%C3%A9=%E2%82%AC", "list-type=2&prefix=a%2Fb",
           "k=a%3Db", "uploads", "X-Amz-Meta=1", "a=1&&b=2", "foo=Zoo&foo=aha", "p%20q=1&p=2", "a=b=c"]
    return [case(f"{service} query {query}", service, query=query) for query in odd]


def headers():
    return [
        case("spaces", "sqs", headers=[["X-Some", "  a   b \t c  "], ["My-Header", "\"x   y\""]]),
        case("twice", "sqs", headers=[["X-Many", "z"], ["x-many", "a"], ["X-MANY", "  m  n "]]),
        case("order", "sqs", headers=[["Zeta", "1"], ["alpha", "2"], ["Content-Type", "application/json"], ["X-Amz-Target", "A.B"]]),
        case("left out", "sqs", headers=[["User-Agent", "me"], ["Expect", "100-continue"], ["X-Amzn-Trace-Id", "Root=1"],
                                          ["Transfer-Encoding", "chunked"], ["Accept", "*/*"]]),
        case("empty value", "sqs", headers=[["X-Empty", ""], ["X-Dash-A", "1"], ["X-Dash", "2"]]),
        case("unicode value", "sqs", headers=[["X-Name", "Zo\u00eb \u20ac"]]),
        case("a session's", "sqs", headers=[["X-Amz-Zz", "1"]], keys=SESSION),
    ]


def requests():
    form = [["Content-Type", "application/x-www-form-urlencoded; charset=utf-8"]]
    as_json = [["Content-Type", "application/x-amz-json-1.1"]]
    return [
        case("sts", "sts", method="POST", headers=form, body="Action=GetCallerIdentity&Version=2011-06-15"),
        case("sts by session", "sts", method="POST", headers=form, body="Action=GetCallerIdentity&Version=2011-06-15", keys=SESSION),
        case("dynamodb", "dynamodb", method="POST", headers=[*as_json, ["X-Amz-Target", "DynamoDB_20120810.PutItem"]],
             body="{\"TableName\":\"caf\u00e9\"}"),
        case("dynamodb local", "dynamodb", method="POST", scheme="http", host="127.0.0.1:8000", headers=as_json, body="{}", region="local"),
        case("secrets manager", "secretsmanager", method="POST", region="ap-southeast-2", keys=SESSION,
             headers=[*as_json, ["X-Amz-Target", "secretsmanager.GetSecretValue"]], body="{\"SecretId\":\"prod/orderlog\"}"),
        case("ses", "ses", method="POST", host="email.us-gov-west-1.amazonaws.com", region="us-gov-west-1", path="/v2/email/outbound-emails",
             headers=[["Content-Type", "application/json"]], body="{\"to\":\"\u4f60\u597d\"}"),
        case("lambda", "lambda", method="POST", path="/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A1%3Afunction%3Af/invocations",
             body="{}"),
        case("logs", "logs", method="POST", headers=[*as_json, ["X-Amz-Target", "Logs_20140328.PutLogEvents"]], body="{\"logEvents\":[]}"),
        case("glue", "glue", method="POST", headers=[*as_json, ["X-Amz-Target", "AWSGlue.GetSchemaVersion"]], body="{}"),
        case("execute-api", "execute-api", method="DELETE", host="abc123.execute-api.eu-central-1.amazonaws.com", path="/prod/orders/1"),
        case("last second of a year", "sqs", time=1767225599),
        case("leap day", "sqs", time=1709164800),
        case("s3 put", "s3", method="PUT", host="bucket.s3.eu-central-1.amazonaws.com", path="/archive/a%20b%2B%C3%A9.avro", body="Obj\x01"),
        case("s3 put unsigned", "s3", method="PUT", host="bucket.s3.eu-central-1.amazonaws.com", path="/x", body="Obj", unsigned_payload=True),
        case("s3 if none", "s3", method="PUT", host="127.0.0.1:7070", scheme="http", path="/b/k", body="x", headers=[["If-None-Match", "*"]]),
        case("s3 by session", "s3", host="bucket.s3.eu-central-1.amazonaws.com", query="list-type=2&prefix=&continuation-token=1%2F%2Bx%3D", keys=SESSION),
        case("unsigned elsewhere", "lambda", method="POST", path="/x", body="x", unsigned_payload=True),
    ]


def presigned():
    names = "Action=Connect&Name=a%20b&Tilde=~&Slash=%2F"
    return [dict(one, kind="presign", expires=expires) for one, expires in [
        (case("presigned", "sqs"), 60), (case("presigned query", "sqs", query=names), 900), (case("presigned by session", "sts", keys=SESSION), 3600),
        (case("presigned put", "s3", method="PUT", host="b.s3.eu-central-1.amazonaws.com", path="/a/../b//c%20d", body="not hashed"), 604800),
        (case("presigned s3 session", "s3", host="b.s3.eu-central-1.amazonaws.com", path="/x", query="versionId=1", keys=SESSION), 1),
        (case("presigned headers", "s3", method="PUT", host="b.s3.eu-central-1.amazonaws.com", path="/x",
              headers=[["Content-Type", "text/plain"], ["x-amz-acl", "private"]]), 30),
        (case("presigned body", "lambda", method="POST", path="/x//y", body="hashed"), 30),
        (case("presigned eks", "sts", host="sts.eu-central-1.amazonaws.com", query="Action=GetCallerIdentity&Version=2011-06-15",
              headers=[["x-k8s-aws-id", "cluster"]]), 60)]]


def tokens():
    return [{"kind": "msk", "name": f"msk {region}", "region": region, "keys": keys, "time": time}
            for region, keys, time in [("eu-central-1", LONG_LIVED, 1440938160), ("us-east-1", SESSION, 1767225599), ("us-gov-west-1", SESSION, 1709164800)]]


def credentials(one):
    return Credentials(one["keys"]["access_key_id"], one["keys"]["secret_access_key"], one["keys"].get("session_token"))


def sign(one):
    s3, presign = one["service"] == "s3", one.get("kind") == "presign"
    kind = {(False, False): botocore.auth.SigV4Auth, (True, False): botocore.auth.S3SigV4Auth, (False, True): botocore.auth.SigV4QueryAuth,
            (True, True): botocore.auth.S3SigV4QueryAuth}[s3, presign]
    signer = kind(credentials(one), one["service"], one["region"], *([one["expires"]] if presign else []))
    given = HTTPHeaders()
    for name, value in one["headers"]:
        given.add_header(name, value)
    url = f"{one['scheme']}://{one['host']}{one['path']}" + ("?" + one["query"] if one["query"] else "")
    request = AWSRequest(method=one["method"], url=url, headers=given, data=one["body"].encode())
    if one["unsigned_payload"]:
        request.context["payload_signing_enabled"] = False
        request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    if presign:
        request.data = ""  # else it would be moved into the query
        with mock.patch.object(AWSRequest, "body", one["body"].encode()):
            signer.add_auth(request)
        return {"url": request.url}
    signer.add_auth(request)
    authorization = request.headers["Authorization"]
    del request.headers["Authorization"]  # it is not part of what it signs
    return {"canonical": signer.canonical_request(request), "authorization": authorization,
            "content_sha256": request.headers.get("X-Amz-Content-SHA256")}


def token(one):
    made, expires_ms = getattr(msk, "__construct_auth_token")(one["region"], credentials(one))
    url = base64.urlsafe_b64decode(made + "=" * (-len(made) % 4)).decode()
    return {"url": url.partition("&User-Agent=")[0], "expires_ms": expires_ms}


def make():
    made = []
    for one in [*paths("execute-api"), *paths("s3"), *queries("execute-api"), *queries("s3"), *headers(), *requests(), *presigned(), *tokens()]:
        now = datetime.datetime.fromtimestamp(one["time"], datetime.timezone.utc)
        with mock.patch.object(botocore.auth, "get_current_datetime", lambda: now):
            made.append({**one, "expected": token(one) if one.get("kind") == "msk" else sign(one)})
    return "[\n" + ",\n".join(json.dumps(one) for one in made) + "\n]\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(make(), encoding="utf-8")
    elif sys.argv[1:] == ["--check"]:
        if FILE.read_text(encoding="utf-8") != make():
            sys.exit(f"{FILE} is not what botocore makes of it: make_vectors.py --write")
        print(f"{len(FILE.read_text(encoding='utf-8').splitlines()) - 2} vectors are as botocore makes them")
    else:
        sys.exit(__doc__)
