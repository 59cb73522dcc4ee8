#!/usr/bin/env python3
"""IAM: parliament has nothing to say of any policy, and each process may read and write the topics that its code reads
and writes: no fewer, no more."""
import fnmatch
import json
import re
import sys

from environment import enter

enter()

import parliament  # noqa: E402

import templates  # noqa: E402
import topics  # noqa: E402
from rules import as_list, of_type, statements  # noqa: E402
from services import NOTIFIED  # noqa: E402

# What parliament says and is not heeded, by a word of it.
NOT_HEEDED = {
    "UseConnection": "connections have two prefixes since 2024, and an ARN has only one of them",
    "RESOURCE_STAR ['ec2:CreateNetworkInterface', 'ec2:DeleteNetworkInterface']": "CodeBuild in a VPC; as AWS documents it",
}


def wanted_writes():
    wanted = {name: topics.outputs(name) | {topic + ".dlq" for topic in topics.inputs(name) if topics.dead_letters(topic)}
              for name in topics.DECIDERS}
    wanted["Api"] = topics.commands()
    wanted["ConsumeNotifier"] = {"shop.notification.events.v1"} | {
        topic + ".dlq" for topic in topics.inputs("notifier") if topics.dead_letters(topic)}
    return wanted


def allowed(policy, action):
    return {resource.rsplit("/", 1)[1] for s in statements(policy) if action in as_list(s["Action"])
            for resource in as_list(s["Resource"]) if ":topic/" in resource}


def compare_topics(flat):
    wanted = wanted_writes()
    if any(len(own) < 2 for own in wanted.values()):
        yield f"the code's topics were not found: {wanted}"
    for name, own in wanted.items():
        policy = flat[f"Access.{name}Policy"]["Properties"]["PolicyDocument"]
        found = allowed(policy, "kafka-cluster:WriteData")
        for topic in sorted(own - found):
            yield f"{name}: its code writes {topic}; its policy does not let it"
        for topic in sorted(found - own):
            yield f"{name}: may write {topic}; no code of it does"
    notifier = flat["Access.NotifierPolicy"]["Properties"]["PolicyDocument"]
    reads = topics.topics_of("".join(re.findall(topics.INPUTS, topics.code("core/domain/notices.c")))) | {"shop.personal.v1"}
    if not reads == set(NOTIFIED.values()) == allowed(notifier, "kafka-cluster:ReadData"):
        yield f"Notifier: its code reads {reads}; its policy lets it read something else, or it is not fed with them"
    if allowed(notifier, "kafka-cluster:WriteData") != {"shop.notification.events.v1"}:
        yield "Notifier: writes what came of its notices, and nothing else"
    for name in ("ProjectRedis", "ProjectPostgres", "Topics", "Scaler", "Archive"):
        if allowed(flat[f"Access.{name}Policy"]["Properties"]["PolicyDocument"], "kafka-cluster:WriteData"):
            yield f"{name}: may write records"
    process = flat["Access.ConsumeNotifierPolicy"]["Properties"]["PolicyDocument"]
    if not reads <= allowed(process, "kafka-cluster:ReadData") <= reads | {"shop.notification.events.v1"}:
        yield f"ConsumeNotifier: its code reads {reads}, and what it has written itself"
    kept = {topic for topic in topics.topic_names().values() if topic != "shop.personal.v1"}
    kept |= {topic + ".dlq" for topic in kept if topics.dead_letters(topic)}
    archived = allowed(flat["Access.ArchivePolicy"]["Properties"]["PolicyDocument"], "kafka-cluster:ReadData")
    for topic in sorted(kept):
        if not any(fnmatch.fnmatchcase(topic, pattern) for pattern in archived):
            yield f"Archive: may not read {topic}"
    for name in [*(wanted.keys() - {"ConsumeNotifier"}), "ProjectRedis", "ProjectPostgres", "Archive"]:
        policy = flat[f"Access.{name}Policy"]["Properties"]["PolicyDocument"]
        if "shop.personal.v1" in allowed(policy, "kafka-cluster:ReadData"):
            yield f"{name}: may read personal data"


def dynamodb_calls(code):
    return {name for name in re.findall(r'"([A-Z]\w+)"', code) if re.fullmatch(r"(Batch)?(Get|Put|Update|Delete)Items?|Query|Scan", name)}


def compare_tables(flat):
    """The parts of the transactions that the code makes, and what else it calls; and each of a table that it is of."""
    code = "".join(topics.code(f"projections/{name}.c") for name in ("dynamodb_items", "dynamodb_store", "views_dynamodb"))
    calls, sessions = dynamodb_calls(code), dynamodb_calls(topics.code("api/revoked_dynamodb.c"))
    parts = {name.removesuffix("Item") + "Item" for name in re.findall(r'"(Put|Update|Delete|ConditionCheck)"', code)}
    for name, table, wanted in (("ProjectRedis", "Views", calls | parts), ("Api", "Views", calls), ("Api", "Sessions", sessions)):
        found = {action.split(":")[1] for s in statements(flat[f"Access.{name}Policy"]["Properties"]["PolicyDocument"])
                 for action in as_list(s["Action"]) if action.startswith("dynamodb:")
                 and all(f"Data.{table}:" in resource for resource in as_list(s["Resource"]))}
        if found != wanted or not wanted:
            yield f"{name}: its code calls {sorted(wanted)} of {table}; its policy lets it {sorted(found)}"


def audit(flat, excused):
    documents = [(name, p["PolicyDocument"]) for name, p in of_type(flat, "AWS::IAM::ManagedPolicy")]
    documents += [(f"{name} {inline['PolicyName']}", inline["PolicyDocument"])
                  for name, p in of_type(flat, "AWS::IAM::Role") for inline in p.get("Policies", [])]
    for name, document in documents:
        # A mark for an ARN that AWS will know; parliament only wants its form.
        text = re.sub(r"<(\w+)\.(\w+)[^>]*>", lambda m: arn(m, flat), json.dumps(document))
        for finding in parliament.analyze_policy_string(text).findings:
            said = f"{finding.issue} {finding.detail}"
            excuse = next((word for word in NOT_HEEDED if word in said), None)
            if excuse:
                excused.add(excuse)
            else:
                yield f"{name}: {said} {finding.location}"


def arn(match, flat):
    kinds = {"AWS::KMS::Key": "kms:us-east-1:123456789012:key/1", "AWS::MSK::Cluster": "kafka:us-east-1:123456789012:cluster/orderlog/1",
             "AWS::SecretsManager::Secret": "secretsmanager:us-east-1:123456789012:secret:orderlog/x-1",
             "AWS::RDS::DBInstance": "secretsmanager:us-east-1:123456789012:secret:rds-1",
             "AWS::DynamoDB::Table": "dynamodb:us-east-1:123456789012:table/orderlog-claims",
             "AWS::Logs::LogGroup": "logs:us-east-1:123456789012:log-group:x:*", "AWS::SQS::Queue": "sqs:us-east-1:123456789012:q",
             "AWS::ECR::Repository": "ecr:us-east-1:123456789012:repository/orderlog",
             "AWS::ElasticLoadBalancingV2::TargetGroup": "elasticloadbalancing:us-east-1:123456789012:targetgroup/orderlog/1"}
    kind = flat[f"{match[1]}.{match[2]}"]["Type"]
    return "bucket" if kind == "AWS::S3::Bucket" else "arn:aws:" + kinds[kind]


def main():
    wrong, excused = [], set()
    for runtime, notifier in (("eks", "lambda"), ("ec2", "processes"), ("ec2", "lambda")):
        flat = templates.flatten("production", runtime, notifier=notifier)
        wrong += [f"{runtime}: {text}" for text in audit(flat, excused)]
    wrong += [f"'{word}' is excused in vain" for word in NOT_HEEDED.keys() - excused]
    wrong += compare_topics(flat)
    wrong += compare_tables(flat)
    # Both can fail.
    planted = parliament.analyze_policy_string(json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObjekt"], "Resource": "*"}]})).findings
    if not planted:
        wrong.append("parliament does not find an action that there is not")
    write = flat["Access.OrdersPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    resources = next(s for s in write if s["Sid"] == "Write")["Resource"]
    resources[0] = resources[0].replace("shop.order.events.v1", "shop.personal.v1")
    if len(list(compare_topics(flat))) != 2:
        wrong.append("a topic in place of another is not found")
    print("\n".join(wrong))
    print(f"{len(wrong)} complaints")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
