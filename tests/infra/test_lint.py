#!/usr/bin/env python3
# ctest: TIMEOUT=900
"""cfn-lint (errors and warnings) and checkov on infra/aws, checkov on infra/k8s as built and on its Containerfile; what is not heeded is named here, with why. What is named in
vain is an error as well, and both tools find what is planted."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from environment import ROOT, enter, make

enter()

import manifests  # noqa: E402
from templates import FOLDER  # noqa: E402

NOT_HEEDED_BY_LINT = {
    ("W3002", "main.yaml"): "its stacks are files beside it: `aws cloudformation package` puts their addresses in",
}
NOT_HEEDED_BY_CHECKOV = {
    ("CKV_AWS_18", "AWS::S3::Bucket.Logs"): "the bucket of the logs would log into itself",
    ("CKV_AWS_111", "AWS::IAM::Role.ShipRole"): "CodeBuild in a VPC makes network interfaces, which have no name before",
}
# Of all pods alike.
NOT_HEEDED_IN_PODS = {
    "CKV_K8S_11": "a limit of CPU makes a process wait though the machine is idle",
    "CKV_K8S_15": "the repository's tags cannot be moved, so what is there need not be asked for again",
    "CKV_K8S_43": "the same",
    "CKV_DOCKER_4": "what is added is fetched: RDS's certificate authorities",
}
PLANTED = """
AWSTemplateFormatVersion: '2010-09-09'
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties: {BucketNamme: x}
  Open:
    Type: AWS::EC2::SecurityGroup
    Properties:
      GroupDescription: x
      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 22, ToPort: 22, CidrIp: 0.0.0.0/0}]
"""


def lint(paths):
    done = subprocess.run([pathlib.Path(sys.prefix) / "bin" / "cfn-lint", "--regions", "us-east-1", "--format", "json", "--",
                           *paths], check=False, capture_output=True, text=True)
    if done.stderr or done.returncode & 1:
        raise SystemExit(f"cfn-lint itself failed: {done.stderr}")
    return [(m["Rule"]["Id"], pathlib.Path(m["Filename"]).name, f"line {m['Location']['Start']['LineNumber']}: {m['Message']}")
            for m in json.loads(done.stdout)]


def checkov(folder, venv, *frameworks):
    done = subprocess.run([venv / "bin" / "python", venv / "bin" / "checkov", "--skip-download", "--quiet", "--compact", "--framework",
                           *frameworks, "--output", "json", "--directory", folder], check=False, capture_output=True, text=True,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(venv), "LOG_LEVEL": "ERROR"})
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"checkov itself failed: {done.stderr}") from None
    reports = report if isinstance(report, list) else [report]
    unread = [r["results"]["parsing_errors"] for r in reports if r["summary"]["parsing_errors"]]
    if unread:
        raise SystemExit(f"checkov could not read: {unread}")
    return sum(r["summary"]["passed"] for r in reports), [
        (c["check_id"], c["resource"], f"{pathlib.Path(c['file_path']).name}: {c['check_name']}")
        for r in reports for c in r["results"]["failed_checks"]]


def compare(tool, found, not_heeded):
    """What is said and not excused; what is excused and not said."""
    said = {(rule, where) for rule, where, _ in found}
    for rule, where, text in found:
        if (rule, where) not in not_heeded:
            yield f"{tool}: {rule} {where}: {text}"
    for pair in not_heeded.keys() - said:
        yield f"{tool}: {' '.join(pair)} is excused in test_lint.py, but not said"


def main():
    venv = make("checkov")
    wrong = list(compare("cfn-lint", lint(sorted(FOLDER.glob("*.yaml"))), NOT_HEEDED_BY_LINT))
    passed, found = checkov(FOLDER, venv, "cloudformation")
    wrong += compare("checkov", found, NOT_HEEDED_BY_CHECKOV)
    if passed < 500:
        wrong.append(f"checkov made only {passed} checks")
    with tempfile.TemporaryDirectory() as folder:
        for overlay in ("small", "production"):
            (pathlib.Path(folder) / f"{overlay}.yaml").write_text(manifests.build_text(overlay), encoding="utf-8")
        shutil.copy(ROOT / "infra/k8s/Containerfile", pathlib.Path(folder) / "Dockerfile")
        more, found = checkov(pathlib.Path(folder), venv, "kubernetes", "dockerfile")
    wrong += compare("checkov", [(rule, "", f"{where} {text}") for rule, where, text in found],
                     {(rule, ""): why for rule, why in NOT_HEEDED_IN_PODS.items()})
    if more < 1000:
        wrong.append(f"checkov made only {more} checks of infra/k8s")
    with tempfile.TemporaryDirectory() as folder:
        planted = pathlib.Path(folder) / "planted.yaml"
        planted.write_text(PLANTED, encoding="utf-8")
        if "E3002" not in {rule for rule, _, _ in lint([planted])}:
            wrong.append("cfn-lint does not find the planted error")
        if "CKV_AWS_24" not in {rule for rule, _, _ in checkov(pathlib.Path(folder), venv, "cloudformation")[1]}:
            wrong.append("checkov does not find the planted open port")
    print("\n".join(wrong))
    print(f"checkov: {passed + more} checks passed; {len(wrong)} complaints")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
