#!/usr/bin/env python3
# ctest: TIMEOUT=600
"""core/aws/s3 against a gateway that checks signatures and hashes; boto3 looks at what came of it."""
import concurrent.futures
import hashlib
import os
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
VENV = pathlib.Path(__file__).resolve().parent.parent.parent / "var/venv/bin/python"
if VENV.exists() and sys.prefix == sys.base_prefix:
    os.execv(VENV, [VENV, "-B", *sys.argv])
from s3_gateway import Gateway, free_port

PROBE = pathlib.Path(os.environ["ORDERLOG_BUILD"]) / "tests/s3_probe"
PART = 8 << 20
failed = 0


def check(what, good, seen=""):
    global failed
    if not good:
        failed += 1
        print(f"WRONG: {what}: {seen}")


def probe(gateway, *words, bucket="orders", body=b"", **changes):
    return subprocess.run([PROBE, bucket, *words], input=body, capture_output=True, env=gateway.environment(**changes))


def check_objects(gateway, s3):
    small = b"one\0two"
    done = probe(gateway, "put", "a/topic=x/date=2026-01-01/0.avro", body=small)
    check("a small object is written", done.stdout == b"written\n", done)
    check("it is what was sent",
          s3.get_object(Bucket="orders", Key="a/topic=x/date=2026-01-01/0.avro")["Body"].read() == small)
    done = probe(gateway, "put", "a/topic=x/date=2026-01-01/0.avro", body=b"another")
    check("a second one is not written (412)", done.stdout == b"exists\n", done)
    check("the first is left alone",
          s3.get_object(Bucket="orders", Key="a/topic=x/date=2026-01-01/0.avro")["Body"].read() == small)
    done = probe(gateway, "put", "a/empty")
    check("an empty object", done.stdout == b"written\n" and
          s3.head_object(Bucket="orders", Key="a/empty")["ContentLength"] == 0, done)
    done = probe(gateway, "put", "odd/ä b+c&d=e~(f)'g*", body=b"odd")
    check("a key with odd characters", done.stdout == b"written\n" and
          s3.get_object(Bucket="orders", Key="odd/ä b+c&d=e~(f)'g*")["Body"].read() == b"odd", done)
    done = probe(gateway, "get", "a/topic=x/date=2026-01-01/0.avro", "2", "3")
    check("a range", done.stdout == small[2:5], done)
    done = probe(gateway, "get", "a/topic=x/date=2026-01-01/0.avro", "5", "100")
    check("a range over the end", done.stdout == small[5:], done)
    done = probe(gateway, "get", "a/topic=x/date=2026-01-01/0.avro", "7", "100")
    check("a range behind the end", done.returncode == 0 and done.stdout == b"", done)


def check_parts(gateway, s3):
    body = random.Random(1).randbytes(2 * PART + 12345)
    done = probe(gateway, "put", "large", body=body)
    check("an object in three parts is written", done.stdout == b"written\n", done)
    seen = s3.get_object(Bucket="orders", Key="large")["Body"].read()
    check("it is whole", hashlib.sha256(seen).digest() == hashlib.sha256(body).digest(), len(seen))
    done = probe(gateway, "put", "large", body=body[::-1])
    check("a second one in parts is not written", done.stdout == b"exists\n", done)
    check("the first is left alone", s3.get_object(Bucket="orders", Key="large")["Body"].read() == body)
    check("no upload is left over", not s3.list_multipart_uploads(Bucket="orders").get("Uploads"))


def check_races(gateway, s3):
    bodies = [bytes([65 + i]) * 100000 for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda body: probe(gateway, "put", "race", body=body), bodies))
    answers = sorted(one.stdout for one in done)
    winner = s3.get_object(Bucket="orders", Key="race")["Body"].read()
    check("of six at once one wins", answers == [b"exists\n"] * 5 + [b"written\n"], done)
    check("and it is the one that was told so",
          [one.stdout for one, body in zip(done, bodies) if body == winner] == [b"written\n"])
    check("there is one version of it",
          len(s3.list_object_versions(Bucket="orders", Prefix="race").get("Versions", [])) == 1)


def check_listing(gateway, s3):
    keys = [f"many/{i:05}" for i in range(1100)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket="orders", Key=key, Body=key.encode()), keys))
    done = probe(gateway, "list", "many/")
    check("a listing of two pages", done.stdout.decode().splitlines() == [f"{key} 10" for key in keys],
          done.stderr or done.stdout[:200])
    done = probe(gateway, "list", "nothing/")
    check("an empty listing", done.returncode == 0 and not done.stdout, done)


def check_refusals(gateway):
    def refused(what, expected, *words, **changes):
        done = probe(gateway, *words, **changes)
        text = done.stderr.decode()
        check(what, done.returncode == 1 and all(part in text for part in expected), done)
        check(what + ": the secret is not told", "wJalrXUt" not in text and "wrong+secret" not in text, text)

    refused("a wrong secret", ["config", "SignatureDoesNotMatch", "secret/1", "bucket orders"], "put", "secret/1",
            AWS_SECRET_ACCESS_KEY="wrong+secret")
    refused("an unknown key id", ["config", "access key"], "list", "", AWS_ACCESS_KEY_ID="AKIDOTHER")
    refused("a wrong bucket", ["config", "NoSuchBucket", "bucket nowhere"], "put", "k", bucket="nowhere")
    refused("a listing of a wrong bucket", ["config", "NoSuchBucket"], "list", "", bucket="nowhere")
    refused("no such key", ["not-found", "NoSuchKey", "a/none"], "get", "a/none", "0", "10")
    refused("not a bucket's name", ["config", "Bad_Name"], "list", "", bucket="Bad_Name")
    refused("no region", ["config", "AWS_REGION"], "list", "", AWS_ENDPOINT_URL_S3=None, AWS_REGION=None)
    refused("an endpoint that is none", ["config", "AWS_ENDPOINT_URL_S3"], "list", "", AWS_ENDPOINT_URL_S3="ftp://x")
    refused("an endpoint with a password", ["config", "AWS_ENDPOINT_URL_S3"], "list", "", AWS_ENDPOINT_URL_S3="http://a:b@x")
    refused("no credentials", ["credentials"], "list", "", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    refused("nobody there", ["io", "a/key", "bucket orders"], "get", "a/key", "0", "1",
            AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{free_port()}")


def check_lock(gateway, s3):
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}})
    done = probe(gateway, "put", "kept", bucket="locked", body=b"kept")
    check("an object under Object Lock is written", done.stdout == b"written\n", done)
    done = probe(gateway, "put", "kept", bucket="locked", body=b"other")
    check("and not written again", done.stdout == b"exists\n", done)
    body = random.Random(2).randbytes(PART + 1)
    done = probe(gateway, "put", "kept in parts", bucket="locked", body=body)
    check("one in parts, too", done.stdout == b"written\n", done)
    for key in ("kept", "kept in parts"):
        version = s3.list_object_versions(Bucket="locked", Prefix=key)["Versions"][0]["VersionId"]
        try:
            s3.delete_object(Bucket="locked", Key=key, VersionId=version)
            check(f"{key}: a locked version cannot be deleted", False)
        except s3.exceptions.ClientError as error:
            check(f"{key}: a locked version cannot be deleted", "AccessDenied" in str(error), error)


def check_away(gateway):
    """It goes on when the service comes back."""
    gateway.stop()
    waiting = subprocess.Popen([PROBE, "orders", "get", "a/empty", "0", "1"], stderr=subprocess.PIPE,
                               env=gateway.environment())
    gateway.start()
    _, said = waiting.communicate(timeout=60)
    check("a service that comes back is used", waiting.returncode == 0, said)


def main():
    with Gateway() as gateway:
        s3 = gateway.client()
        s3.create_bucket(Bucket="orders")
        s3.put_bucket_versioning(Bucket="orders", VersioningConfiguration={"Status": "Enabled"})
        check_objects(gateway, s3)
        check_parts(gateway, s3)
        check_races(gateway, s3)
        check_listing(gateway, s3)
        check_refusals(gateway)
        check_lock(gateway, s3)
        check_away(gateway)
    print("wrong:" if failed else "all good,", failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
