#!/usr/bin/env python3
# ctest: TIMEOUT=600
"""orderlog archive, archive verify and restore, against a gateway that checks signatures, with versions and Object Lock: a
log comes back bit by bit; killed, doubled and interfered with, the bucket stays without gaps and overlaps."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
VENV = pathlib.Path(__file__).resolve().parent.parent.parent / "var/venv/bin/python"
if VENV.exists() and sys.prefix == sys.base_prefix:
    os.execv(VENV, [VENV, "-B", *sys.argv])
from s3_gateway import Gateway

BIN = os.environ["ORDERLOG_BIN"]
TOOL = pathlib.Path(os.environ["ORDERLOG_BUILD"]) / "tests/archive_log"
failed = 0


def check(what, good, seen=""):
    global failed
    if not good:
        failed += 1
        print(f"WRONG: {what}: {seen}")


class Bench:
    """A gateway, and logs beside it."""

    def __init__(self, gateway, folder):
        self.gateway, self.folder, self.s3 = gateway, folder, gateway.client()

    def url(self, name):
        return f"sqlite://{self.folder}/{name}.db"

    def make(self, name, seed, records):
        subprocess.run([TOOL, "make", self.url(name), str(seed), str(records)], check=True)

    def append(self, name, records, size):
        subprocess.run([TOOL, "append", self.url(name), str(records), str(size)], check=True)

    def dump(self, name):
        return subprocess.run([TOOL, "dump", self.url(name)], check=True, capture_output=True).stdout

    def run(self, *words, **changes):
        environment = self.gateway.environment(**changes)
        environment.pop("ORDERLOG_LOG", None)
        return subprocess.run([BIN, *words], capture_output=True, text=True, env=environment)

    def archive(self, name, bucket, *words, **changes):
        return self.run("archive", "--to", f"s3://{bucket}/log", "--log", self.url(name), "--once", *words, **changes)

    def verify(self, bucket, name=None):
        done = self.run("archive", "verify", "--from", f"s3://{bucket}/log", "--output", "json",
                        *(["--log", self.url(name)] if name else []))
        if done.returncode == 2:
            return {"ok": None, "said": done.stderr}
        report = json.loads(done.stdout)
        check("verify's exit code is what it says", (done.returncode == 0) == report["ok"], done)
        return report

    def restore(self, bucket, name, **changes):
        return self.run("restore", "--from", f"s3://{bucket}/log", "--log", self.url(name), **changes)

    def keys(self, bucket):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="log/topic=")
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def versions(self, bucket):
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix="log/topic=")
        return [item["Key"] for page in pages for item in page.get("Versions", []) + page.get("DeleteMarkers", [])]

    def read(self, bucket, key):
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def bucket(self, name):
        self.s3.create_bucket(Bucket=name)
        return name


def check_whole_way(bench):
    bench.make("old", 1, 6000)
    # Under a lock from the first byte on: nothing here may need to change or remove anything.
    bench.s3.create_bucket(Bucket="main", ObjectLockEnabledForBucket=True)
    bench.s3.put_object_lock_configuration(Bucket="main", ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}})
    done = bench.archive("old", "main", "--records", "100")
    check("it archives", done.returncode == 0, done)
    report = bench.verify("main", "old")
    check("the archive is whole and what the log has", report["ok"] and report["objects"] > 60 and
          report["compared"] == report["objects"], report)
    keys = bench.keys("main")
    check("personal data are not there", not any("personal" in key for key in keys))
    check("names are by topic, date and hour", all(
        key.startswith("log/topic=") and "/date=2026-01-01/hour=" in key and key.endswith(".avro") for key in keys), keys)
    check("there are several hours", len({key.split("hour=")[1][:2] for key in keys}) >= 3, keys)
    done = bench.restore("main", "new")
    check("it restores", done.returncode == 0, done)
    old, new = bench.dump("old"), bench.dump("new")
    check("the restored log is the same, bit by bit", old == new and old.count(b"\n") > 4000, (len(old), len(new)))
    done = bench.restore("main", "new")
    check("a log with records is not restored into", done.returncode == 2 and "not empty" in done.stderr, done)
    before = keys
    done = bench.archive("new", "main", "--records", "100")
    check("the restored log goes on in the same archive", done.returncode == 0 and bench.keys("main") == before, done)
    bench.append("new", 9, 100)
    done = bench.archive("new", "main", "--records", "100")
    check("the present hour waits", done.returncode == 0 and bench.keys("main") == before, done)
    done = bench.archive("new", "main", "--records", "100", "--flush")
    check("unless it is asked for", done.returncode == 0 and len(bench.keys("main")) == len(before) + 3, done)
    report = bench.verify("main", "new")
    check("and all is whole", report["ok"], report)
    check("each object was written once", sorted(bench.versions("main")) == sorted(bench.keys("main")))
    done = bench.archive("old", "main", "--records", "100")
    check("a log that lacks what is archived is found out", done.returncode == 2 and "lost records" in done.stderr, done)


def check_deterministic(bench):
    for bucket in ("same-a", "same-b"):
        bench.bucket(bucket)
        bench.archive("old", bucket, "--records", "500")
    keys = bench.keys("same-a")
    check("the same log gives the same names", keys == bench.keys("same-b"))
    check("and the same bytes", all(bench.read("same-a", key) == bench.read("same-b", key) for key in keys))


def check_other_log(bench):
    bench.make("stranger", 2, 9000)
    done = bench.archive("stranger", "same-a", "--records", "500")
    check("another log's records are not added", done.returncode == 2 and "another log's" in done.stderr, done)
    check("nothing was", bench.verify("same-a", "old")["ok"])


def check_two(bench):
    """Two at once, with ranges of other sizes, while the log grows: one chain comes of it."""
    bench.bucket("two")
    bench.make("two", 3, 6000)
    past = bench.dump("two").count(b"\n")
    words = [BIN, "archive", "--to", "s3://two/log", "--log", bench.url("two")]
    files = [open(bench.folder / f"said-{records}", "w+", encoding="utf-8") for records in ("50", "70")]
    both = [subprocess.Popen([*words, "--records", file.name.split("-")[-1]], stderr=file, env=bench.gateway.environment())
            for file in files]
    bench.append("two", 300, 10)
    until = time.monotonic() + 120
    while bench.verify("two", "two").get("records", 0) < past and time.monotonic() < until:
        time.sleep(0.1)
    for one in both:
        one.send_signal(signal.SIGTERM)
        one.wait(timeout=60)
    said = [(file.seek(0), file.read(), file.close())[1] for file in files]
    check("both end well", [one.returncode for one in both] == [0, 0], said)
    check("at least one has written", any("archive.written" in text for text in said), said)
    bench.archive("two", "two", "--flush")
    report = bench.verify("two", "two")
    check("one chain", report["ok"] and report["records"] == bench.dump("two").count(b"\n"), report)
    check("nothing was written twice", sorted(bench.versions("two")) == sorted(bench.keys("two")))


def check_killed(bench):
    """kill -9 at six moments, some in the middle of an object of several parts."""
    bench.bucket("killed")
    bench.append("large", 66, 400000)
    chance = random.Random(4)
    for _ in range(6):
        one = subprocess.Popen([BIN, "archive", "--to", "s3://killed/log", "--log", bench.url("large"), "--once", "--flush",
                                "--records", "40"], stderr=subprocess.DEVNULL, env=bench.gateway.environment())
        time.sleep(chance.uniform(0.02, 0.6))  # whenever it comes, what follows must hold
        one.kill()
        one.wait()
        report = bench.verify("killed", "large")
        check("after a kill: no gap, no overlap, nothing half", report["ok"], report)
    done = bench.archive("large", "killed", "--flush", "--records", "40")
    report = bench.verify("killed", "large")
    check("it goes on", done.returncode == 0 and report["ok"] and report["records"] == 66, (done, report))
    sizes = [item["Size"] for item in bench.s3.list_objects_v2(Bucket="killed")["Contents"]]
    check("some objects are of several parts", max(sizes) > 8 << 20, sizes)
    check("nothing was written twice", sorted(bench.versions("killed")) == sorted(bench.keys("killed")))
    done = bench.restore("killed", "large-new")
    check("and restores", done.returncode == 0 and bench.dump("large") == bench.dump("large-new"), done)


def check_damage(bench):
    """What somebody else did to a bucket is found, by verify and by restore, and never overwritten."""
    keys = bench.keys("same-b")
    victim = keys[len(keys) // 2]
    body = bench.read("same-b", victim)
    later = next(key for key in keys if not key.endswith("-00000000000000000000.avro"))

    def damaged(what, expected, key, new, restore_finds=True):
        old = bench.read("same-b", key)
        if new is None:
            bench.s3.delete_object(Bucket="same-b", Key=key)
        else:
            bench.s3.put_object(Bucket="same-b", Key=key, Body=new)
        report = bench.verify("same-b")
        check(f"{what}: verify finds it", report["ok"] is False and
              any(expected in finding["wrong"] for finding in report["findings"]), report)
        done = bench.restore("same-b", "never")
        check(f"{what}: restore refuses", done.returncode == 2 or not restore_finds, done)
        if "cut off" in expected:
            opened = bench.run("topics", "--log", bench.url("never"))
            check("half a log is not opened", opened.returncode == 2 and "restore" in opened.stderr, opened)
        for left in bench.folder.glob("never.db*"):
            left.unlink()
        bench.s3.put_object(Bucket="same-b", Key=key, Body=old)

    damaged("a truncated object", "cut off", later, bench.read("same-b", later)[:-100])
    damaged("an altered byte", "", victim, body[:-40] + bytes([body[-40] ^ 1]) + body[-39:])
    damaged("an object that is gone", "a gap", later, None)
    damaged("no Avro file", "no Avro file", victim, b"hello, this is something else")
    damaged("another's object", "not its range's", victim, bench.read("same-b", keys[0]))
    bench.s3.put_object(Bucket="same-b", Key="log/topic=x/notes.txt", Body=b"?")
    report = bench.verify("same-b")
    check("a strange key is told", report["ok"] is False and report["findings"][0]["key"].endswith("notes.txt"), report)
    bench.s3.delete_object(Bucket="same-b", Key="log/topic=x/notes.txt")
    check("and all is well again", bench.verify("same-b", "old")["ok"])


def check_mutations(bench):
    """Bytes changed at random, anywhere: behind the header they are always found, and nothing ever crashes."""
    bench.bucket("mutated")
    bench.archive("old", "mutated", "--records", "60")
    bench.s3.delete_objects(Bucket="mutated", Delete={"Objects": [{"Key": key} for key in bench.keys("mutated")[1:]]})
    key = bench.keys("mutated")[0]
    body, chance = bench.read("mutated", key), random.Random(5)
    blocks = len(body) - body[::-1].index(body[-16:][::-1], 1) - 16  # the first of the two sync markers ends the header
    for _ in range(40):
        place = chance.randrange(len(body)) if chance.random() < 0.3 else chance.randrange(blocks, len(body))
        some = chance.randbytes(chance.choice([0, 1, 1, 9]))
        new = body[:place] + some + body[place + chance.choice([1, 1, 9]):]
        bench.s3.put_object(Bucket="mutated", Key=key, Body=new)
        done = bench.run("archive", "verify", "--from", "s3://mutated/log", "--output", "json")
        check("no crash", done.returncode in (0, 1, 2), (place, done))
        check("what was altered is found", done.returncode == 1 or place < blocks or new == body, (place, done))


def check_taken_name(bench):
    """412 with other bytes behind it is an error, not a success."""
    bench.bucket("taken")
    bench.archive("old", "taken", "--records", "500")
    last = max(key for key in bench.keys("taken") if "topic=other.topic" in key)
    body = bench.read("taken", last)
    bench.s3.put_object(Bucket="taken", Key=last, Body=body[:-20])
    done = bench.archive("old", "taken", "--records", "500")
    check("other bytes under the name are an error", done.returncode == 2 and last in done.stderr, done)
    check("and are left alone", bench.read("taken", last) == body[:-20])


def check_refusals(bench):
    def refused(what, expected, done):
        check(what, done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr, done)

    refused("a wrong bucket", "NoSuchBucket", bench.archive("old", "nowhere"))
    refused("a wrong secret", "SignatureDoesNotMatch",
            bench.archive("old", "main", AWS_SECRET_ACCESS_KEY="another"))
    refused("no such archive", "there is no archive", bench.restore(bench.bucket("empty"), "x"))
    refused("no such log", "no log", bench.archive("nolog", "empty"))
    refused("not a URL", "s3://", bench.run("archive", "--to", "http://x/y", "--once", "--log", bench.url("old")))
    refused("--flush alone", "--once", bench.run("archive", "--to", "s3://x", "--flush"))
    refused("no place", "--to", bench.run("archive"))
    refused("no place to verify", "--from", bench.run("archive", "verify"))
    refused("no place to restore from", "--from", bench.run("restore"))
    refused("a log that cannot be restored", "embedded", bench.run(
        "restore", "--from", "s3://main/log", "--log", "kafka://127.0.0.1:1"))
    check("an empty bucket is an archive without faults", bench.verify("empty")["ok"])


def main():
    with Gateway() as gateway:
        folder = gateway.folder / "logs"
        folder.mkdir()
        bench = Bench(gateway, folder)
        for one in (check_whole_way, check_deterministic, check_other_log, check_two, check_killed, check_damage,
                    check_mutations, check_taken_name, check_refusals):
            began = time.monotonic()
            one(bench)
            print(f"{one.__name__}: {time.monotonic() - began:.1f} s")
        shutil.rmtree(folder)
    print("wrong:" if failed else "all good,", failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
