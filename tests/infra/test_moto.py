#!/usr/bin/env python3
# ctest: TIMEOUT=600
"""The stacks whose types moto makes are created in it and read back by API: what is there is what the templates say. moto
answers CREATE_COMPLETE for types that it ignores as well, so nothing is taken from that; the types left out are named."""
import json
import os
import sys

from environment import enter

enter()

os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1")

import boto3  # noqa: E402
from moto import mock_aws  # noqa: E402

import rules  # noqa: E402
import templates  # noqa: E402

# moto ignores these, or makes less of them than is asked, as with rules that name a prefix list; our own rules are all
# there is for them.
LEFT_OUT = {"AWS::EC2::FlowLog", "AWS::S3::BucketPolicy", "AWS::CloudTrail::Trail", "AWS::SecretsManager::Secret",
            "AWS::EC2::VPCEndpoint", "AWS::EC2::SecurityGroupEgress", "AWS::MSK::Cluster", "AWS::MSK::Configuration", "AWS::RDS::DBInstance",
            "AWS::RDS::DBParameterGroup", "AWS::RDS::DBSubnetGroup", "AWS::ElastiCache::SubnetGroup",
            "AWS::ElastiCache::ParameterGroup", "AWS::ElastiCache::ReplicationGroup"}
GIVEN = {"Size": "production", "AlarmEmail": "ops@example.com",
         "LogArn": "arn:aws:kafka:us-east-1:123456789012:cluster/orderlog/1",
         "DatabaseSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds-1",
         "RedisSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:redis-1"}
FROM = {"KeyArn": "KeyArn", "Vpc": "Vpc", "PrivateSubnets": "PrivateSubnets", "RouteTables": "RouteTables", "DataSubnets": "DataSubnets",
        "ClaimsArn": "ClaimsArn", "SessionsArn": "SessionsArn", "ViewsArn": "ViewsArn", "ArchiveBucket": "Archive", "LogGroupId": "Log", "DatabaseGroupId": "Database", "RedisGroupId": "Redis"}


def without(template):
    """Less what is left out, and less what speaks of that; a secret that is left out is still an ARN."""
    text = json.dumps(template)
    for name, r in template["Resources"].items():
        if r["Type"] == "AWS::SecretsManager::Secret":
            text = text.replace(f'{{"Ref": "{name}"}}', f'"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}"')
    template = json.loads(text)
    gone = {name for name, r in template["Resources"].items() if r["Type"] in LEFT_OUT or "PrefixListId" in str(r)}
    speaks = lambda x: any(f'"{name}"' in json.dumps(x) or f"${{{name}" in json.dumps(x) for name in gone)  # noqa: E731
    resources = {name: r for name, r in template["Resources"].items() if name not in gone and not speaks(r)}
    outputs = {name: o for name, o in template.get("Outputs", {}).items() if not speaks(o)}
    return {**template, "Resources": resources, "Outputs": outputs}


def create(name, known):
    template = without(templates.load(f"{name}.yaml"))
    cloud = boto3.client("cloudformation")
    parameters = []
    for key, spec in template.get("Parameters", {}).items():
        value = GIVEN.get(key) or known.get(FROM.get(key, ""))
        if value or "Default" not in spec:
            parameters.append({"ParameterKey": key, "ParameterValue": value or "none"})
    cloud.create_stack(StackName=name, TemplateBody=json.dumps(template), Parameters=parameters, Capabilities=["CAPABILITY_NAMED_IAM"])
    known.update({o["OutputKey"]: o["OutputValue"] for o in cloud.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])})
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in cloud.list_stack_resources(StackName=name)["StackResourceSummaries"]}


def network(made):
    ec2 = boto3.client("ec2")
    vpc = next(v["VpcId"] for v in ec2.describe_vpcs()["Vpcs"] if v["CidrBlock"] == "10.20.0.0/16")
    mine = [{"Name": "vpc-id", "Values": [vpc]}]
    subnets = ec2.describe_subnets(Filters=mine)["Subnets"]
    if len(subnets) != 9 or len({s["AvailabilityZone"] for s in subnets}) != 3 or any(s["MapPublicIpOnLaunch"] for s in subnets):
        yield f"network: {len(subnets)} subnets"
    kinds = {s["SubnetId"]: next(t["Value"] for t in s["Tags"] if t["Key"] == "Name").split("-")[1] for s in subnets}
    ways = {}
    # CloudFormation in moto leaves associations out: they are asked of EC2 itself, as the template has them.
    for _, p in rules.of_type(templates.flatten("production", "ec2"), "AWS::EC2::SubnetRouteTableAssociation"):
        ec2.associate_route_table(**{key: made[value[1:-1].split(".")[1]] for key, value in p.items()})
    for table in ec2.describe_route_tables(Filters=mine)["RouteTables"]:
        out = [r for r in table["Routes"] if r.get("DestinationCidrBlock") == "0.0.0.0/0"]
        way = "nowhere" if not out else "nat" if out[0].get("NatGatewayId") else "gateway"
        for association in table["Associations"]:
            if "SubnetId" in association:
                ways.setdefault(kinds[association["SubnetId"]], []).append(way)
    if ways != {"public": ["gateway"] * 3, "data": ["nowhere"] * 3, "private": ["nat"] * 3}:
        yield f"network: the ways out are {ways}"


def firewall(made):
    names = {made[name]: name for name in rules.CALLS.keys() | {"Database", "Redis", "Endpoints"}}
    found = set()
    for group in boto3.client("ec2").describe_security_groups(GroupIds=list(names))["SecurityGroups"]:
        for rule in group["IpPermissions"]:
            found |= {(names[pair["GroupId"]], names[group["GroupId"]], rule["FromPort"]) for pair in rule["UserIdGroupPairs"]}
            if rule["IpRanges"] or rule.get("Ipv6Ranges"):
                yield f"firewall: {names[group['GroupId']]} is open to {rule['IpRanges']}"
    wanted = {(a, b, port) for a, calls in rules.CALLS.items() for b, port in calls.items()}
    if found != wanted:
        yield f"firewall: {sorted(found ^ wanted)}"


def buckets(made):
    s3 = boto3.client("s3")
    for name in ("Archive", "Assets", "Artifacts", "Logs"):
        bucket = made[name]
        rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
        if rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] != ("AES256" if name == "Logs" else "aws:kms"):
            yield f"{name}: encrypted by {rule}"
    # CloudFormation in moto leaves these out, so they are asked of S3 itself, as the template has them.
    given = templates.flatten("production", "ec2")["Storage.Archive"]["Properties"]
    s3.create_bucket(Bucket="by-api", ObjectLockEnabledForBucket=given["ObjectLockEnabled"])
    s3.put_object_lock_configuration(Bucket="by-api", ObjectLockConfiguration=given["ObjectLockConfiguration"])
    s3.put_public_access_block(Bucket="by-api", PublicAccessBlockConfiguration=given["PublicAccessBlockConfiguration"])
    lock = s3.get_object_lock_configuration(Bucket="by-api")["ObjectLockConfiguration"]
    if lock["ObjectLockEnabled"] != "Enabled" or lock["Rule"]["DefaultRetention"]["Days"] != 365:
        yield f"Archive: its lock is {lock}"
    if not all(s3.get_public_access_block(Bucket="by-api")["PublicAccessBlockConfiguration"].values()):
        yield "Archive: is public"


def policies(made):
    iam = boto3.client("iam")
    flat = templates.flatten("production", "eks")
    for name in ("Api", "Checkout", "Orders", "Inventory", "Payments", "Fulfilment", "ProjectRedis", "ProjectPostgres", "Topics"):
        arn = made[f"{name}Policy"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        said = {s["Sid"]: s["Action"] for s in document["Statement"]}
        wanted = {s["Sid"]: s["Action"] for s in flat[f"Access.{name}Policy"]["Properties"]["PolicyDocument"]["Statement"]}
        if said != wanted:
            yield f"{name}Policy: allows {said}"


def tables(made):
    dynamo = boto3.client("dynamodb")
    for name in ("Claims", "Sessions", "Views"):
        table = dynamo.describe_table(TableName=made[name])["Table"]
        given = templates.flatten("production", "ec2")[f"Data.{name}"]["Properties"]
        if table["BillingModeSummary"]["BillingMode"] != "PAY_PER_REQUEST" or table["KeySchema"] != given["KeySchema"]:
            yield f"{name}: {table}"
        indexes = [{key: index[key] for key in ("IndexName", "KeySchema", "Projection")}
                   for index in table.get("LocalSecondaryIndexes", [])]
        if indexes != given.get("LocalSecondaryIndexes", []):
            yield f"{name}: its indexes are {indexes}"
        if name == "Views":
            continue
        # Left out by CloudFormation in moto as well.
        dynamo.update_time_to_live(TableName=made[name], TimeToLiveSpecification=given["TimeToLiveSpecification"])
        if dynamo.describe_time_to_live(TableName=made[name])["TimeToLiveDescription"]["TimeToLiveStatus"] != "ENABLED":
            yield f"{name}: nothing in it ends"


def keys(made):
    kms = boto3.client("kms")
    if not kms.get_key_rotation_status(KeyId=made["Key"])["KeyRotationEnabled"]:
        yield "Key: never changes"
    if boto3.client("sns").get_topic_attributes(TopicArn=made["Alarms"])["Attributes"].get("KmsMasterKeyId") != made["Key"]:
        yield "Alarms: are not encrypted"


def main():
    wrong, known = [], {}
    with mock_aws():
        for name, look in (("keys", keys), ("network", network), ("firewall", firewall), ("storage", buckets), ("data", tables),
                           ("access", policies)):
            made = create(name, known)
            wrong += look(made)
        # And each look can fail.
        ec2, made_groups = boto3.client("ec2"), {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in boto3.client(
            "cloudformation").list_stack_resources(StackName="firewall")["StackResourceSummaries"]}
        ec2.authorize_security_group_ingress(GroupId=made_groups["Api"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0")
        if not list(firewall(made_groups)):
            wrong.append("an open port is not found when read back")
    print("\n".join(wrong))
    print(f"{len(wrong)} complaints")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
