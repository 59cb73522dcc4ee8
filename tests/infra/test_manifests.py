#!/usr/bin/env python3
# ctest: TIMEOUT=900
"""infra/k8s, built: Kubernetes's own schemas take it strictly, its parts fit to each other, to infra/aws and to the code, and
what is changed for the worse is found."""
import copy
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from environment import ROOT, enter

enter()

import kubernetes_validate  # noqa: E402

import manifests  # noqa: E402

def valid(objects):
    for o in objects:
        what = f"{o['kind']} {o['metadata']['name']}"
        if o["kind"] != "Namespace" and o["metadata"].get("namespace") != "orderlog":
            yield f"{what}: is in another namespace"
        if o["kind"] in manifests.KINDS_OF_OTHERS:
            continue
        try:
            kubernetes_validate.validate(o, "1.33", strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{what}: {error.message} at {'.'.join(map(str, error.path))}"


def pod(objects, name):
    return manifests.pods(objects)[name][1]


def put(kind, name, path, value):
    def change(objects):
        at = manifests.kind(objects, kind)[name]
        *folders, last = path.split("/")
        for part in folders:
            at = at[int(part) if part.isdigit() else part]
        at[int(last) if last.isdigit() else last] = value
    return change


C = "spec/template/spec/containers/0/"
MUTATIONS = [
    ("an unknown field", put("Deployment", "api", C + "imagePullPolice", "Always"), "imagePullPolice"),
    ("a service for nobody", put("Service", "api", "spec/selector/role", "web"), "chooses the pods of []"),
    ("a port that there is not", put("Service", "api", "spec/ports/0/targetPort", "web"), "no port web"),
    ("a budget for others", put("PodDisruptionBudget", "api", "spec/selector/matchLabels/role", "web"), "does not choose"),
    ("two deployments with the same pods", put("Deployment", "project-redis", "spec/selector/matchLabels/role", "api"), "chooses the pods of"),
    ("an open firewall", put("NetworkPolicy", "nobody", "spec/policyTypes", ["Ingress"]), "without being named"),
    ("the whole world", put("NetworkPolicy", "postgres", "spec/egress/0/to/0/ipBlock/cidr", "0.0.0.0/0"), "whole world"),
    ("no way to the sessions", put("NetworkPolicy", "dynamodb", "spec/podSelector", {"matchLabels": {"role": "archive"}}), "api may call the whole world, or not"),
    ("sessions' addresses as the network's", put("NetworkPolicy", "dynamodb", "spec/egress/0/to/0/ipBlock/cidr", "10.0.0.0/8"), "['ORDERLOG_SESSIONS_URL']"),
    ("the machine's own services", put("NetworkPolicy", "dynamodb", "spec/egress/0/to/0/ipBlock/except", []), "whole world"),
    ("views that cannot be written", put("Deployment", "project-redis", C + "env/0", {"name": "ORDERLOG_VIEWS_URL", "value": "dynamodb://orderlog-views"}), "project-redis may call the whole world, or not"),
    ("deciders that call the world", put("NetworkPolicy", "provider", "spec/podSelector", {"matchLabels": {"secrets": "decider"}}), "consume-checkout may call the whole world, or not"),
    ("every port", put("NetworkPolicy", "redis", "spec/egress/0/ports", []), "every port"),
    ("root", put("Deployment", "api", "spec/template/spec/securityContext/runAsUser", 0), "as root"),
    ("a writable image", put("Deployment", "api", C + "securityContext/readOnlyRootFilesystem", False), "may write"),
    ("privileges", put("Job", "topics", C + "securityContext/capabilities", {"add": ["NET_ADMIN"]}), "gain rights"),
    ("no limit", put("Deployment", "project-redis", C + "resources/limits", {}), "says not what it needs"),
    ("liveness by readiness", put("Deployment", "api", C + "livenessProbe/httpGet/path", "/readyz"), "livenessProbe asks"),
    ("another port", put("Deployment", "api", C + "ports/0/containerPort", 8081), "not at its port"),
    ("an archive that writes where it likes", put("CronJob", "archive", "spec/jobTemplate/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem", False), "may write"),
    ("an archive without a group", put("CronJob", "archive", "spec/jobTemplate/spec/template/metadata/labels/role", "any"), "security groups choose it"),
    ("killed too soon", put("Deployment", "api", "spec/template/spec/terminationGracePeriodSeconds", 5), "killed before"),
    ("a secret that nobody makes", put("Deployment", "api", C + "env/1/value", "/secrets/password"), "nobody makes"),
    ("a secret in the manifests", put("Secret", "decider", "stringData/database-password", "hunter2"), "does not stand for"),
    ("a secret that there is not", put("Secret", "payments", "stringData/provider", "secretsmanager:orderlog/stripe"), "Secrets Manager has no"),
    ("a secret too many", put("Secret", "decider", "stringData/provider", "secretsmanager:orderlog/provider"), "no pod reads"),
    ("another's account", put("Deployment", "api", "spec/template/spec/serviceAccountName", "default"), "no role for"),
    ("no security group", put("Deployment", "api", "spec/template/metadata/labels/role", "web"), "security groups choose it"),
    ("a setting that is none", put("Deployment", "api", C + "env/0/name", "ORDERLOG_LISTENS"), "no code asks for ORDERLOG_LISTENS"),
    ("mails of no shop", put("Deployment", "consume-notifier", C + "env/4/name", "ORDERLOG_LISTEN"), "machines are told ORDERLOG_SHOP_NAME"),
    ("more processes than partitions", put("ScaledObject", "project-redis", "spec/maxReplicaCount", 13), "13 for 12 partitions"),
    ("another group's lag", put("ScaledObject", "project-redis", "spec/triggers/0/metadata/consumerGroup", "orders"), "other groups"),
    ("a topic that it does not read", put("ScaledObject", "project-redis", "spec/triggers/0/metadata/topic", "shop.cart.events.v1"), "does not read"),
]


def image():
    """The image's root has all that the program needs: it runs in there, without anything else. OpenSSL, which the program calls
    Redis and Kafka by, finds the authorities there by itself."""
    program = pathlib.Path(os.environ.get("ORDERLOG_BIN", ROOT / "build" / "orderlog"))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ROOT / "infra/k8s/image-root", folder, f"{program}=/usr/bin/orderlog", f"{shutil.which('openssl')}=/openssl"], check=True)

        def inside(*command):  # nothing of the environment here, where SSL_CERT_FILE would hide what is not there
            return subprocess.run(["unshare", "--user", "--map-root-user", "chroot", folder, *command], check=False,
                                  capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        done = inside("/usr/bin/orderlog", "--help")
        if "Operation not permitted" in done.stderr:
            print("image: no namespaces here; not tried")
            return
        if done.returncode != 0 or "Usage" not in done.stdout:
            yield f"image: orderlog does not run in it: {done.stderr}"
        bundle = pathlib.Path(folder, "etc/ssl/certs/ca-certificates.crt").read_text(encoding="utf-8")
        (pathlib.Path(folder) / "authority.pem").write_text(bundle.partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n", encoding="utf-8")
        done = inside("/openssl", "verify", "/authority.pem")
        if done.returncode != 0:
            yield f"image: OpenSSL does not trust an authority of its bundle: {done.stderr}"


def shipped():
    """infra/aws/release/ship applies what it is asked for, with nothing left open, and takes away what it is not asked for."""
    for mail, traces in itertools.product(("", "shop@example.com"), ("", "http://collector.example.com:4318")):
        what = f"ship with MAIL_FROM={mail} TRACES_ENDPOINT={traces}"
        with tempfile.TemporaryDirectory() as folder:
            objects, deleted = manifests.ship("small", folder, MAIL_FROM=mail, TRACES_ENDPOINT=traces, TRACES_RATIO="0.05" if traces else "",
                                              **({"SHOP_NAME": "shop.example.com"} if mail else {}))
        yield from (f"{what}: {text}" for text in [*valid(objects), *manifests.complaints(objects)])
        settings = next(o["data"] for name, o in manifests.kind(objects, "ConfigMap").items() if name.startswith("settings"))
        if settings["OTEL_EXPORTER_OTLP_ENDPOINT"] != traces or "${" in str(objects):
            yield f"{what}: the settings are {settings}"
        if ("consume-notifier" in manifests.pods(objects)) != bool(mail) or ("consume-notifier" in deleted) == bool(mail):
            yield f"{what}: the notifier is not what was asked for; taken away was {deleted}"
        if mail and ("ORDERLOG_SHOP_NAME", "shop.example.com") not in manifests.told(objects, manifests.pods(objects)["consume-notifier"][1]):
            yield f"{what}: the notifier does not know the shop's name"
        policy = manifests.kind(objects, "NetworkPolicy").get("traces")
        if bool(policy) != bool(traces) or ("networkpolicy traces" in deleted) == bool(traces):
            yield f"{what}: the way to the collector is {policy}; taken away was {deleted}"
        for name, (labels, _) in manifests.pods(objects).items() if policy else []:
            if manifests.chosen(policy["spec"]["podSelector"], labels) != (name not in ("topics", "archive")):
                yield f"{what}: {name} may reach the collector, or not, as it should not be"


def main():
    wrong = []
    sizes = {"small": 6, "small-mail": 7, "production": 10, "production-mail": 11}
    for overlay, count in sizes.items():
        objects = manifests.build(overlay)
        wrong += [f"{overlay}: {text}" for text in [*valid(objects), *manifests.complaints(objects)]]
        if len(manifests.pods(objects)) != count or ("consume-notifier" in manifests.pods(objects)) != overlay.endswith("-mail"):
            wrong.append(f"{overlay}: makes {sorted(manifests.pods(objects))}")
    for what, change, word in MUTATIONS:
        changed = copy.deepcopy(objects)
        change(changed)
        found = [*valid(o for o, before in zip(changed, objects) if o != before), *manifests.complaints(changed)]
        if not any(word in text for text in found):
            wrong.append(f"not found: {what}; said was {found or 'nothing'}")
    wrong += shipped()
    wrong += image()
    print("\n".join(wrong))
    print(f"{len(MUTATIONS)} mutations, {len(wrong)} complaints")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
