"""What must hold of the built manifests of infra/k8s: between each other, with infra/aws, and with the code."""
import os
import pathlib
import re
import shutil
import subprocess

import yaml

import templates
from environment import ROOT, cannot
from rules import PODS

KINDS_OF_OTHERS = {"ScaledObject", "TriggerAuthentication", "SecurityGroupPolicy", "TargetGroupBinding"}

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.5.0"


def kustomize():
    """kubectl brings it along; else it is built, once, as the Go module that it is."""
    if shutil.which("kubectl"):
        return [shutil.which("kubectl"), "kustomize"]
    folder = ROOT / "var" / "kustomize"
    if not (folder / "kustomize").exists():
        if not shutil.which("go"):
            cannot("there is neither kubectl nor Go")
        done = subprocess.run(["go", "install", KUSTOMIZE], check=False, env={**os.environ, "GOBIN": str(folder)})
        if done.returncode != 0:
            cannot("kustomize could not be built")
    return [folder / "kustomize", "build"]


def build_text(overlay):
    return subprocess.run([*kustomize(), ROOT / "infra" / "k8s" / overlay], check=True, capture_output=True, text=True).stdout


def build(overlay):
    return list(yaml.safe_load_all(build_text(overlay)))


# kubectl as infra/aws/release/ship calls it: what it would apply is kept, and what it would take away is written down.
KUBECTL = """#!/bin/sh
case "$1 $2" in
"kustomize "*) shift; exec %s "$@" ;;
"apply --filename") cp "$3" "$APPLIED" ;;
"delete "*) echo "$*" >>"$APPLIED.deleted" ;;
"get deployments") echo deployment.apps/api ;;
esac
"""
FILLED = {"REPOSITORY": "123456789012.dkr.ecr.us-east-1.amazonaws.com/orderlog", "RELEASE": "0123456789ab", "BROKERS": "b-1.example:9098",
          "AWS_REGION": "us-east-1", "AWS_ACCOUNT_ID": "123456789012", "DATABASE_HOST": "db.example", "DATABASE_SECRET": "rds-1",
          "REDIS_HOST": "redis.example", "PROVIDER": "https://api.stripe.com", "TARGETS_ARN": "arn:aws:targets", "ARCHIVE_BUCKET": "archive",
          **{f"{name}_GROUP_ID": name for name in ("API", "DECIDER", "PAYMENTS", "PROJECT_REDIS", "PROJECT_POSTGRES", "TOPICS", "ARCHIVE")}}


def ship(size, folder, **more):
    """(what infra/aws/release/ship applies with these settings, what it takes away)"""
    folder = pathlib.Path(folder)
    (folder / "kubectl").write_text(KUBECTL % " ".join(map(str, kustomize())), encoding="utf-8")
    (folder / "kubectl").chmod(0o755)
    subprocess.run([ROOT / "infra/aws/release/ship", size], check=True, env={
        "PATH": f"{folder}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/"), "APPLIED": str(folder / "applied"), **FILLED, **more})
    return list(yaml.safe_load_all((folder / "applied").read_text(encoding="utf-8"))), \
        (folder / "applied.deleted").read_text(encoding="utf-8")


def kind(objects, *names):
    return {o["metadata"]["name"]: o for o in objects if o["kind"] in names}


def pods(objects):
    """{name: (labels, pod's spec)} of whatever makes pods."""
    made = {name: o["spec"] for name, o in kind(objects, "Deployment", "Job").items()}
    made |= {name: o["spec"]["jobTemplate"]["spec"] for name, o in kind(objects, "CronJob").items()}
    return {name: (spec["template"]["metadata"]["labels"], spec["template"]["spec"]) for name, spec in made.items()}


def chosen(selector, labels):
    """Does a label selector choose these labels?"""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for e in selector.get("matchExpressions", []):
        within = labels.get(e["key"]) in e["values"]
        if {"In": not within, "NotIn": within}[e["operator"]]:
            return False
    return True


def ports_of(spec):
    return {p["name"]: p["containerPort"] for c in spec["containers"] for p in c.get("ports", [])}


def selectors(objects):
    made = pods(objects)
    for name, o in kind(objects, "Deployment").items():
        hits = [other for other, (labels, _) in made.items() if chosen(o["spec"]["selector"], labels)]
        if hits != [name]:
            yield f"Deployment {name}: chooses the pods of {hits}"
    for name, o in kind(objects, "Service").items():
        hits = [other for other, (labels, _) in made.items() if chosen({"matchLabels": o["spec"]["selector"]}, labels)]
        if hits != ["api"]:
            yield f"Service {name}: chooses the pods of {hits}"
        for port in o["spec"]["ports"]:
            if any(port["targetPort"] not in ports_of(made[hit][1]) for hit in hits):
                yield f"Service {name}: there is no port {port['targetPort']}"
    budgets = kind(objects, "PodDisruptionBudget")
    for name in kind(objects, "Deployment"):
        if name not in budgets or not chosen(budgets[name]["spec"]["selector"], made[name][0]):
            yield f"PodDisruptionBudget {name}: does not choose its pods"
    for name, o in kind(objects, "NetworkPolicy").items():
        hits = [other for other, (labels, _) in made.items() if chosen(o["spec"]["podSelector"], labels)]
        if not hits:
            yield f"NetworkPolicy {name}: chooses nobody"
        for rule in o["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                if any(port["port"] not in ports_of(made[hit][1]) for hit in hits):
                    yield f"NetworkPolicy {name}: not all of {hits} have a port {port['port']}"


def firewall(objects):
    policies = kind(objects, "NetworkPolicy")
    if policies.get("nobody", {"spec": None})["spec"] != {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
        yield "NetworkPolicy nobody: something is allowed without being named"
    for name, o in policies.items():
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in o["spec"].get(way, []):
                if not rule.get(peers) or not rule.get("ports"):
                    yield f"NetworkPolicy {name}: allows everybody, or every port"
                if "0.0.0.0/0" in str(rule) and (way != "egress" or rule != BY_TLS):
                    yield f"NetworkPolicy {name}: allows the whole world"
    for name, (labels, spec) in pods(objects).items():
        ways = [policy for policy, o in policies.items() if BY_TLS in o["spec"].get("egress", []) and chosen(o["spec"]["podSelector"], labels)]
        asks = outside(objects, spec)
        if bool(ways) != bool(asks):
            yield f"NetworkPolicy {ways}: {name} may call the whole world, or not, while it is told of {sorted(asks)}"


# Whom only their security group names: all addresses but the machine's own services.
BY_TLS = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}], "ports": [{"port": 443}]}


def told(objects, spec):
    """A pod's settings."""
    maps = kind(objects, "ConfigMap")
    for c in spec["containers"]:
        for source in c.get("envFrom", []):
            yield from maps[source["configMapRef"]["name"]]["data"].items()
        yield from ((e["name"], str(e.get("value", ""))) for e in c.get("env", []))
        yield from (("--to", arg) for arg in c.get("args", []))


def outside(objects, spec):
    """What it is told of whose addresses are public ones: S3 and DynamoDB, by gateway endpoints, and the payment provider."""
    return {name for name, value in told(objects, spec) if value.startswith(("s3:", "dynamodb:")) or name == "ORDERLOG_PROVIDER_SECRET_FILE"}


def hardened(objects):
    for name, (_, spec) in pods(objects).items():
        if not spec.get("securityContext", {}).get("runAsNonRoot") or spec["securityContext"].get("runAsUser", 0) == 0 or \
                spec["securityContext"].get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: may run as root, or make any system call"
        if spec.get("automountServiceAccountToken") is not False or spec.get("hostNetwork") or spec.get("hostPID"):
            yield f"{name}: has more of the cluster or the host than it needs"
        for c in spec["containers"] + spec.get("initContainers", []):
            context = c.get("securityContext", {})
            if context.get("allowPrivilegeEscalation") is not False or not context.get("readOnlyRootFilesystem") or \
                    context.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{name}/{c['name']}: may write to its image, or gain rights"
            if "memory" not in c["resources"].get("limits", {}) or set(c["resources"].get("requests", {})) != {"cpu", "memory"}:
                yield f"{name}/{c['name']}: says not what it needs"
    for name, o in kind(objects, "Deployment").items():
        c = o["spec"]["template"]["spec"]["containers"][0]
        for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/livez")):
            asked = c.get(probe, {}).get("httpGet")
            if asked != {"path": path, "port": "http"}:
                yield f"{name}: {probe} asks {asked}"
        listens = next((e["value"] for e in c["env"] if e["name"] == "ORDERLOG_LISTEN"), "")
        if listens != f"0.0.0.0:{ports_of(o['spec']['template']['spec']).get('http')}":
            yield f"{name}: listens at {listens}, not at its port"
        if o["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 0) <= 30:
            yield f"{name}: is killed before it has ended"


def secrets(objects):
    """Each file of a secret is made, of a reference to what Secrets Manager has, and of nothing that a pod has no use for."""
    made = {name: o["stringData"] for name, o in kind(objects, "Secret").items()}
    asked = {}  # of the secrets that a pod has; an overlay may leave out all that have one
    for name, (_, spec) in pods(objects).items():
        volume = next((v["secret"]["secretName"] for v in spec.get("volumes", []) if v["name"] == "secrets"), None)
        if volume in made:
            asked.setdefault(volume, set())
        for e in (e for c in spec["containers"] for e in c.get("env", [])):
            if not str(e.get("value", "")).startswith("/secrets/"):
                continue
            if e["value"][9:] not in made.get(volume, {}):
                yield f"{name}: {e['name']} is a file that nobody makes"
            else:
                asked[volume].add(e["value"][9:])
    names = {p["Properties"]["Name"] for p in templates.flatten("small", "eks").values()
             if p["Type"] == "AWS::SecretsManager::Secret"}
    for name, files in made.items():
        for file in set(files) - asked.get(name, set(files)):
            yield f"Secret {name}: no pod reads {file}"
        for file, text in files.items():
            held = re.fullmatch(r"secretsmanager:(?:(orderlog/\w+)|(?:\$\{DATABASE_SECRET\}|rds-1)#password)", text)  # filled, or not
            if not held:
                yield f"Secret {name}: {file} does not stand for a secret of Secrets Manager"
            elif held[1] and held[1] not in names:
                yield f"Secret {name}: Secrets Manager has no {held[1]}"


def identities(objects):
    """Each pod's service account, its role in infra/aws, and its one security group."""
    flat = templates.flatten("small", "eks")
    accounts = kind(objects, "ServiceAccount")
    subjects = {p["Properties"]["RoleName"]: str(p["Properties"]["AssumeRolePolicyDocument"]) for p in flat.values()
                if p["Type"] == "AWS::IAM::Role" and "RoleName" in p["Properties"]}
    groups = kind(objects, "SecurityGroupPolicy")
    for name, (labels, spec) in pods(objects).items():
        account = accounts.get(spec.get("serviceAccountName"))
        role = account["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn", "").rsplit("/", 1)[-1] if account else None
        if not role or f"system:serviceaccount:orderlog:{spec['serviceAccountName']}'" not in subjects.get(role, ""):
            yield f"{name}: there is no role for its service account"
        its = [g["spec"]["securityGroups"]["groupIds"] for g in groups.values() if chosen(g["spec"]["podSelector"], labels)]
        if len(its) != 1:
            yield f"{name}: {len(its)} security groups choose it"
            continue
        group = its[0][0].removeprefix("${").removesuffix("_GROUP_ID}").title().replace("_", "")
        if group not in PODS or PODS[group] != ports_of(spec).get("http"):
            yield f"{name}: {group} does not let its probes in"


def settings(objects):
    """Every setting is one that the code asks for; ${…} of AWS's is filled by infra/aws/release/ship."""
    source = "".join(path.read_text(encoding="utf-8") for folder in ("core", "cli", "api", "consumers", "producers", "projections")
                     for path in (ROOT / folder).rglob("*.c"))
    names = {e["name"] for _, spec in pods(objects).values() for c in spec["containers"] for e in c.get("env", [])}
    yield from as_machines(objects)
    for name, o in kind(objects, "ConfigMap").items():
        names |= set(o["data"]) if name.startswith("settings") else set()
    for name in sorted(names):
        if f'"{name.removesuffix("_FILE")}"' not in source:
            yield f"settings: no code asks for {name}"
    listed = (ROOT / "infra/aws/release/ship").read_text(encoding="utf-8")
    for name in sorted(set(re.findall(r"\$\{([A-Z_]+)\}", str(objects)))):
        if not re.search(rf"\b{name}\b", listed):
            yield f"settings: infra/aws/release/ship does not fill ${{{name}}}"


# Of settings that machines have and pods have not, with why.
OTHERWISE = {"DATABASE_USER": "it is in the pods' DATABASE_URL"}


def as_machines(objects):
    """What a machine is told (infra/aws/release/settings), a pod is told too, of the notifier's if it is there."""
    text = (ROOT / "infra/aws/release/settings").read_text(encoding="utf-8")
    notifiers = set(re.findall(r"^(?: *own=\")?([A-Z_]+)=", re.search(r"^notifier\)(.*?);;", text, re.M | re.S)[1], re.M))
    names = set(re.findall(r"^(?: *own=\"|worker\) own=\")?([A-Z_]+)=", text, re.M))
    known = {name.removesuffix("_FILE") for _, spec in pods(objects).values() for name, _ in told(objects, spec)}
    for name in sorted(names - OTHERWISE.keys() - known - (set() if "consume-notifier" in pods(objects) else notifiers)):
        yield f"settings: machines are told {name}, no pod is"


def scaling(objects):
    deployments = kind(objects, "Deployment")
    partitions = next(int(o["data"]["ORDERLOG_PARTITIONS"]) for n, o in kind(objects, "ConfigMap").items() if n.startswith("settings"))
    scaled = kind(objects, "ScaledObject")
    for name in deployments:
        if name != "api" and name not in scaled:
            yield f"ScaledObject {name}: is missing"
    for name, o in scaled.items():
        spec = o["spec"]
        if spec["scaleTargetRef"]["name"] not in deployments:
            yield f"ScaledObject {name}: scales nobody"
            continue
        if spec["maxReplicaCount"] > partitions or spec["minReplicaCount"] < 2:
            yield f"ScaledObject {name}: {spec['minReplicaCount']} to {spec['maxReplicaCount']} for {partitions} partitions"
        args = deployments[name]["spec"]["template"]["spec"]["containers"][0]["args"]
        services = {("consume", "all"): ["checkout", "orders", "inventory", "payments", "fulfilment"]}.get(
            tuple(args), [args[1] + "-view-orders"] if args[0] == "project" else [args[1]])
        if sorted(t["metadata"]["consumerGroup"] for t in spec["triggers"]) != sorted(services):
            yield f"ScaledObject {name}: looks at other groups than {services}"
        for t in spec["triggers"]:
            if not reads(t["metadata"]["consumerGroup"], t["metadata"]["topic"]):
                yield f"ScaledObject {name}: {t['metadata']['consumerGroup']} does not read {t['metadata']['topic']}"
            if t["metadata"].get("sasl") != "aws_msk_iam" or t["metadata"].get("tls") != "enable":
                yield f"ScaledObject {name}: does not say who it is"


def reads(group, topic):
    from topics import inputs, view_topics
    return topic in (view_topics(group.rsplit("-", 1)[1]) if "-view-" in group else inputs(group))


CHECKS = [selectors, firewall, hardened, secrets, identities, settings, scaling]


def complaints(objects):
    return [f"{check.__name__}: {text}" for check in CHECKS for text in check(objects)]
