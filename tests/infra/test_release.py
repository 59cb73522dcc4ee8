#!/usr/bin/env python3
# ctest: TIMEOUT=900
"""A release for EC2: buildspec.yml in a clean clone, appspec.yml with its hooks in a sandbox root, systemd's units by
systemd-analyze; each with a step that fails. What .ci/run does in there is .ci/run's own business: it is replaced by a
command that succeeds or fails. systemctl, useradd and aws are stand-ins that write down what is asked of them."""
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

from environment import ROOT, cannot, enter

enter()

import yaml  # noqa: E402

import release  # noqa: E402
import templates  # noqa: E402
from rules import as_list, of_type, statements  # noqa: E402

UNITS = ("orderlog-api", "orderlog-consume", "orderlog-project@redis", "orderlog-notifier", "orderlog-settings",
         "orderlog-archive")
BROKERS = "b-1.example:9098,b-2.example:9098"
COLLECTOR = "http://collector.example.com:4318"
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
"systemctl is-active"*) exit ${IS_ACTIVE:-3} ;;
"systemctl start"*) exit ${START:-0} ;;
"id "*) exit 1 ;;
"aws kafka get-bootstrap-brokers --cluster-arn $LOG_ARN "*) echo "$BROKERS_OF_LOG" ;;
"aws "*) exit 1 ;;
"ruby install auto") printf ':verbose: false\n:enable_auth_policy: false\n:max_revisions: 5' >"$DESTDIR/etc/codedeploy-agent/conf/codedeployagent.yml" ;;
esac
"""


class Probe(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):  # noqa: N802
        self.send_response(self.status if self.path.startswith("/readyz") else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def clone(folder, ci):
    """What is committed, with a .ci/run that ends so; what is not committed yet is taken along."""
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    listed = subprocess.run(["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z", "infra/aws", "infra/local"], check=True, capture_output=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".ci/run").write_text(f"#!/bin/sh\nexit {ci}\n", encoding="utf-8")


def stand_ins(folder, names):
    place = folder / "stand-ins"
    place.mkdir()
    for name in names:
        (place / name).write_text(STAND_IN, encoding="utf-8")
        (place / name).chmod(0o755)
    return {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "CALLS": str(folder / "calls")}


def built(folder):
    """Yields what is wrong; leaves the bundle in folder/bundle."""
    # Packages are there already, or tests/run could not have begun; apt and cmake's release build are run once, for real.
    environment = {**stand_ins(folder, ["apt-get", "aws"]), "LOG_ARN": "arn:aws:kafka:us-east-1:123456789012:cluster/orderlog/1", "BROKERS_OF_LOG": BROKERS}
    environment.pop("CI", None)
    for ci in (1, 0):
        clean = folder / f"clone-{ci}"
        clone(clean, ci)
        try:
            base, paths = release.build(clean, "infra/aws/buildspec.yml", environment)
        except RuntimeError as error:
            if ci == 0 or str(error) != "phase build failed" or (clean / "build-release").exists():
                yield f"buildspec with .ci/run ending in {ci}: {error}"
            continue
        if ci:
            yield "buildspec: a failing .ci/run does not fail it"
        names = {str(path.relative_to(base)) for path in paths}
        for name in ("appspec.yml", "bin/orderlog", "bin/orderlog-settings", "hooks/validate", "units/orderlog-api.service"):
            if name not in names:
                yield f"buildspec: the release has no {name}"
        done = subprocess.run([base / "bin/orderlog", "--version"], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            yield f"buildspec: what it built does not run: {done.stderr}"
        for brokers in ("", "None", "b-1.example", f"{BROKERS},"):
            if subprocess.run([clean / "infra/aws/release/bundle", clean / "build-release/orderlog", folder / "none", brokers],
                              check=False, capture_output=True).returncode == 0:
                yield f"bundle: '{brokers}' are brokers to it"
        shutil.copytree(base, folder / "bundle")


def deployed(folder):
    bundle = folder / "bundle"
    probe = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Probe)
    threading.Thread(target=probe.serve_forever, daemon=True).start()
    # The hooks ask fixed ports, which somebody else may have here.
    common = bundle / "hooks/common"
    common.write_text(re.sub(r"ports=\(.*\)", f"ports=({probe.server_address[1]})", common.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "deploy").mkdir()
    environment = {**stand_ins(folder / "deploy", ["systemctl", "useradd", "id", "aws"]), "ORDERLOG_VALIDATE_TRIES": "1"}
    calls = folder / "deploy" / "calls"
    for machine in ("api", "worker", "notifier"):
        root = folder / f"root-{machine}"
        (root / "etc/orderlog").mkdir(parents=True)
        told = machine_file(machine)
        (root / "etc/orderlog/machine").write_text("".join(f"{name}={value}\n" for name, value in told.items()), encoding="utf-8")
        environment["DESTDIR"] = str(root)
        Probe.status = 200
        for before, active in ((None, "3"), (bundle, "0")):
            calls.unlink(missing_ok=True)
            release.deploy(bundle, root, before, {**environment, "IS_ACTIVE": active})
            said = calls.read_text(encoding="utf-8").splitlines()
            unit = {"api": "orderlog-api.service", "worker": "orderlog-consume.service", "notifier": "orderlog-notifier.service"}[machine]
            stops = [i for i, call in enumerate(said) if call.startswith(f"systemctl stop {unit}")]
            starts = [i for i, call in enumerate(said) if call.startswith("systemctl start ") and unit in call]
            if (machine == "worker") != any(call.startswith("systemctl start ") and "orderlog-archive.timer" in call for call in said):
                yield f"appspec on {machine}: the archive is not started where it should be: {said}"
            if len(starts) != 1 or len(stops) != (1 if before else 0) or stops and stops[0] > starts[0]:
                yield f"appspec on {machine}: {said}"
        for what, more, status, event in (("a service that does not start", {"START": "1"}, 200, "ApplicationStart"),
                                          ("a process that is not ready", {}, 503, "ValidateService")):
            Probe.status = status
            try:
                release.deploy(bundle, root, bundle, {**environment, **more})
                yield f"appspec on {machine}: {what} does not fail it"
            except RuntimeError as error:
                if not str(error).startswith(event):
                    yield f"appspec on {machine}: {what} fails as {error}"
        yield from settings(root, machine, told, environment)
    probe.shutdown()


def machine_file(machine):
    """/etc/orderlog/machine as infra/aws/ec2.yaml writes it; what only AWS knows has a name that a shell takes."""
    flat = templates.flatten("small", "ec2", notifier="processes", traces=COLLECTOR)
    text = flat[f"Ec2.{machine.title()}Template"]["Properties"]["LaunchTemplateData"]["UserData"]
    written = re.search(r"cat >/etc/orderlog/machine <<'END'\n(.*?)END\n", text, re.S)[1]
    return dict(re.sub(r"<\w+\.([\w.]+)(?::[\w.]+)?>", r"\1", line).split("=", 1) for line in written.splitlines())


def settings(root, machine, told, environment):
    program = root / "opt/orderlog/bin/orderlog-settings"
    subprocess.run([program], env=environment, check=True)
    run = root / "run/orderlog"
    lines = dict(line.split("=", 1) for line in (run / "settings").read_text(encoding="utf-8").splitlines())
    notifies = machine == "notifier"
    for name, value in {"ORDERLOG_LOG": f"kafka://{BROKERS}",
                        "REDIS_URL": None if notifies else f"rediss://{told['REDIS_HOST']}:6379",
                        "ORDERLOG_MAIL_FROM": "orders@shop.example.com" if notifies else None,
                        "ORDERLOG_SESSIONS_URL": "dynamodb://orderlog-revoked-sessions" if machine == "api" else None,
                        "DATABASE_URL": f"postgresql://{told['DATABASE_HOST']}/orderlog?sslmode=verify-full&sslrootcert=/etc/ssl/certs/rds.pem",
                        "DATABASE_PASSWORD": f"secretsmanager:{told['DATABASE_SECRET']}#password",
                        "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_TRACES_SAMPLER_ARG": "0.05"}.items():
        if lines.get(name) != value:
            yield f"settings on {machine}: {name} is {lines.get(name)}"
    source = "".join(path.read_text(encoding="utf-8") for folder in ("core", "cli", "api", "consumers") for path in (ROOT / folder).rglob("*.c"))
    for name in lines:
        if f'"{name}"' not in source:
            yield f"settings: no code asks for {name}"
    # All that are named are fetched at the start: the machine's role may read these, and no others.
    named = {value.removeprefix("secretsmanager:") for value in lines.values() if value.startswith("secretsmanager:")}
    if named != {told["DATABASE_SECRET"] + "#password", *readable(machine)}:
        yield f"settings on {machine}: names {sorted(named)}; its role may read {sorted(readable(machine))}"
    if [path.name for path in run.iterdir()] != ["settings"] or (run / "settings").stat().st_mode & 0o007:
        yield f"settings on {machine}: everybody may read them, or there is more: {sorted(path.name for path in run.iterdir())}"
    # Without a collector there is no such setting.
    (root / "etc/orderlog/machine").write_text("".join(f"{name}={'' if value == COLLECTOR else value}\n" for name, value in told.items()), encoding="utf-8")
    subprocess.run([program], env=environment, check=True)
    if "OTLP" in (run / "settings").read_text(encoding="utf-8"):
        yield f"settings on {machine}: traces go to nowhere"
    if any(call.startswith("aws ") for call in pathlib.Path(environment["CALLS"]).read_text(encoding="utf-8").splitlines()):
        yield f"settings on {machine}: AWS is called, to which the machine may have no way"
    for text in ("", None):
        brokers = root / "etc/orderlog/brokers"
        brokers.unlink() if text is None else brokers.write_text(text, encoding="utf-8")
        if subprocess.run([program], env=environment, check=False, capture_output=True).returncode == 0:
            yield f"settings: brokers that are {'not told' if text is None else 'nobody'} do not fail it"


def readable(machine):
    """The secrets that infra/aws gives the machine's role, but the database's."""
    flat = templates.flatten("small", "ec2", notifier="processes")
    names = {f"<{name}>": p["Name"] for name, p in of_type(flat, "AWS::SecretsManager::Secret")}
    role = flat[f"Ec2.{machine.title()}Role"]["Properties"]
    policies = [flat[p.strip("<>")]["Properties"]["PolicyDocument"] for p in role["ManagedPolicyArns"] if p.startswith("<")]
    return {names[resource] for policy in policies for s in statements(policy)
            if "secretsmanager:GetSecretValue" in as_list(s["Action"]) for resource in as_list(s["Resource"]) if resource in names}


def units(folder):
    if not shutil.which("systemd-analyze"):
        cannot("there is no systemd-analyze")
    root = folder / "units"
    (root / "opt/orderlog/bin").mkdir(parents=True)
    for name in ("opt/orderlog/bin/orderlog", "opt/orderlog/bin/orderlog-settings"):
        shutil.copy("/bin/true", root / name)
    shutil.copytree(ROOT / "infra/aws/release/units", root / "etc/systemd/system")
    # The targets that they name are systemd's own.
    for place in ("/usr/lib/systemd/system", "/lib/systemd/system"):
        if pathlib.Path(place).exists():
            shutil.copytree(place, root / "usr/lib/systemd/system", symlinks=True)
            break
    done = subprocess.run(["systemd-analyze", "verify", f"--root={root}", "--man=no", *(f"{unit}.service" for unit in UNITS), "orderlog-archive.timer"],
                          check=False, capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "orderlog" in line]
    if ours:
        yield f"systemd-analyze verify: {ours}"
    for unit in UNITS:
        limit = 25 if unit == "orderlog-settings" else 15  # of 100; 0 is nothing left to take away
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={limit}", f"--root={root}", f"{unit}.service"],
                              check=False, capture_output=True, text=True)
        if done.returncode != 0:
            yield f"{unit}: {done.stdout.splitlines()[-1:]} {done.stderr}"
    # Both can fail.
    planted = root / "etc/systemd/system/orderlog-api.service"
    text = planted.read_text(encoding="utf-8")
    planted.write_text(text.replace("ProtectSystem=strict", "ProtectSystem=no").replace("NoNewPrivileges=yes", "").replace(
        "SystemCallFilter", "#").replace("WatchdogSec", "WatchdogSecs").replace("User=orderlog", "User=root"), encoding="utf-8")
    if subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=15", f"--root={root}", "orderlog-api.service"],
                      check=False, capture_output=True).returncode == 0:
        yield "systemd-analyze security: takes a unit without sandbox"
    done = subprocess.run(["systemd-analyze", "verify", f"--root={root}", "--man=no", "orderlog-api.service"], check=False, capture_output=True, text=True)
    if "WatchdogSecs" not in done.stderr:
        yield "systemd-analyze verify: does not find a misspelt key"
    for unit in UNITS[:4]:
        if "Type=notify\nWatchdogSec=" not in (ROOT / f"infra/aws/release/units/{unit.split('@')[0]}{'@' if '@' in unit else ''}.service").read_text(encoding="utf-8"):
            yield f"{unit}: systemd does not watch it"


def image(folder):
    """What a machine's image is made by; CodeDeploy's agent is told to call the endpoint that there is."""
    root = folder / "image"
    for place in ("etc/ssl/certs", "etc/codedeploy-agent/conf"):
        (root / place).mkdir(parents=True)
    environment = stand_ins(root, ["apt-get", "curl", "ruby", "dpkg", "amazon-cloudwatch-agent-ctl", "systemctl"])
    subprocess.run([ROOT / "infra/aws/release/image"], check=True, env={**environment, "DESTDIR": str(root), "TMPDIR": str(folder), "AWS_REGION": "us-east-1"})
    told = yaml.safe_load((root / "etc/codedeploy-agent/conf/codedeployagent.yml").read_text(encoding="utf-8"))
    if told != {":verbose": False, ":max_revisions": 5, ":enable_auth_policy": True}:
        yield f"image: CodeDeploy's agent is told {told}"


def agent():
    """What alarms and dashboard look at is told by the agent, and kept by the program."""
    told = (ROOT / "infra/aws/release/agent/agent.json").read_text(encoding="utf-8")
    selector = json.loads(told)["logs"]["metrics_collected"]["prometheus"]["emf_processor"]["metric_declaration"][0]["metric_selectors"][0]
    watched = set(re.findall(r"\borderlog_[a-z_]+", (ROOT / "infra/aws/observe.yaml").read_text(encoding="utf-8"))) - {"orderlog_"}
    source = "".join(path.read_text(encoding="utf-8") for folder in ("core", "cli", "api", "consumers", "producers", "projections")
                     for path in (ROOT / folder).rglob("*.c"))
    for name in sorted(watched):
        if not re.match(selector, name):
            yield f"{name}: observe.yaml asks for it, the agent does not tell it"
        if f'"{name}"' not in source:
            yield f"{name}: observe.yaml asks for it, but no such metric is kept"


def main():
    wrong = []
    with tempfile.TemporaryDirectory(prefix="release.", dir=ROOT / "var") as name:
        folder = pathlib.Path(name)
        wrong += agent()
        wrong += image(folder)
        wrong += units(folder)
        wrong += built(folder)
        if (folder / "bundle").exists():
            wrong += deployed(folder)
    print("\n".join(wrong))
    print(f"{len(wrong)} complaints")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
