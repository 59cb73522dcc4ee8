#!/usr/bin/env python3
"""infra/aws keeps our own rules (rules.py, services.py), in each size and way to run it; and each rule can fail: changes
for the worse, one at a time, are all found."""
import copy
import itertools
import sys

from environment import enter

enter()

import rules  # noqa: E402
import templates  # noqa: E402


def at(template, path):
    for part in path.split("/"):
        template = template[int(part) if part.isdigit() else part]
    return template


def put(path, value):
    """Of a template's resource: sets Properties at path."""
    def change(resources):
        folder, _, last = path.rpartition("/")
        place = at(resources, folder)
        place[int(last) if last.isdigit() else last] = value
    return change


def drop(path):
    def change(resources):
        folder, _, last = path.rpartition("/")
        place = at(resources, folder) if folder else resources
        del place[int(last) if last.isdigit() else last]
    return change


def rule_in(group, **more):
    def change(resources):
        resources["Planted"] = {"Type": "AWS::EC2::SecurityGroupIngress", "Properties": {
            "GroupId": {"Ref": group}, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **more}}
    return change


def allow(name, **statement):
    def change(resources):
        resources[name]["Properties"]["PolicyDocument"]["Statement"].append({"Effect": "Allow", **statement})
    return change


def add(name, resource_type, **properties):
    def change(resources):
        resources[name] = {"Type": resource_type, "Properties": properties}
    return change


def told_nothing(name):
    def change(resources):
        variables = resources["Ship"]["Properties"]["Environment"]["EnvironmentVariables"]
        variables[:] = [v for v in variables if v["Name"] != name]
    return change


def told_less(template, name):
    def change(resources):
        data = resources[template]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
        data["Fn::Sub"] = "".join(line for line in data["Fn::Sub"].splitlines(True) if not line.startswith(name))
    return change


def one_zone_less(resources):
    for kind in ("Public", "Private", "Data"):
        resources[kind + "C"]["Properties"]["AvailabilityZone"] = "us-east-1a"


P = "Properties/"
COLLECTOR = "http://collector.example.com:4318"
# What is changed, where, on what (and behind '/' what NotifierOn is, if not lambda; and whether there is a collector), how,
# and a word of what must be said about it.
MUTATIONS = [
    ("ssh from anywhere", "firewall", "ec2", rule_in("Api", CidrIp="0.0.0.0/0"), "open to 0.0.0.0/0"),
    ("ssh from anywhere by IPv6", "firewall", "ec2", rule_in("Worker", CidrIpv6="::/0"), "open to ::/0"),
    ("the database for the load balancer", "firewall", "eks", rule_in("Database", SourceSecurityGroupId={"Ref": "Balancer"}, FromPort=5432, ToPort=5432), "no code of it does"),
    ("all ports between two groups", "firewall", "eks", put("LogFromApi/" + P + "IpProtocol", "-1"), "no code of it does"),
    ("another prefix list", "firewall", "ec2", put("BalancerFromCloudFront/" + P + "SourcePrefixListId", "pl-1"), "only CloudFront"),
    ("deciders may call everybody", "firewall", "eks", put("DeciderToEndpoints/" + P[:-1], {"GroupId": {"Ref": "Decider"}, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}), "may call everybody"),
    ("a group without rules out", "firewall", "eks", drop("Log/" + P + "SecurityGroupEgress"), "may call"),
    ("a decider loses the log", "firewall", "eks", drop("DeciderToLog"), "does not reach"),
    ("an API without DynamoDB", "firewall", "eks", drop("ApiToDynamo"), "does not reach pl-02cd2c6b"),
    ("topics that look into S3", "firewall", "eks", put("ArchiveToS3/" + P + "GroupId", {"Ref": "Topics"}), "<Firewall.Topics> reaches pl-63a5400a"),
    ("an agent without CodeDeploy", "firewall", "ec2", drop("CodeDeployEndpoint"), "no interface endpoint for codedeploy-commands-secure"),
    ("half of CodeDeploy", "firewall", "ec2", drop("CodeDeployApiEndpoint"), "no interface endpoint for codedeploy"),
    ("machines that ask MSK's API", "ec2", "ec2", allow("MachinePolicy", Action="kafka:GetBootstrapBrokers", Resource="*"), "no way to kafka"),
    ("a build that does not know the log", "pipeline", "ec2", drop("Build/" + P + "Environment/EnvironmentVariables"), "what LOG_ARN is"),
    ("data with a way out", "network", "ec2", add("Planted", "AWS::EC2::Route", RouteTableId={"Ref": "DataRoutes"}, DestinationCidrBlock="0.0.0.0/0", NatGatewayId={"Ref": "NatA"}), "data subnets have a way out"),
    ("private subnets to the gateway", "network", "ec2", put("PrivateOutA/" + P[:-1], {"RouteTableId": {"Ref": "PrivateTableA"}, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": {"Ref": "Gateway"}}), "a way to the internet gateway"),
    ("public addresses", "network", "eks", put("PrivateB/" + P + "MapPublicIpOnLaunch", True), "public addresses"),
    ("two zones", "network", "eks", one_zone_less, "2 zones"),
    ("a load balancer in the open", "balancer", "eks", put("Balancer/" + P + "Scheme", "internet-facing"), "without CloudFront"),
    ("metrics for all", "balancer", "eks", put("Inside/" + P + "Conditions/0/PathPatternConfig/Values", ["/livez"]), "not hidden"),
    ("old TLS", "balancer", "ec2", put("Https/" + P + "SslPolicy", "ELBSecurityPolicy-2016-08"), "SslPolicy"),
    ("plain HTTP", "balancer", "ec2", put("Https/" + P + "Protocol", "HTTP"), "Protocol"),
    ("a public database", "data", "ec2", put("Database/" + P + "PubliclyAccessible", True), "PubliclyAccessible"),
    ("a database in one zone", "data", "ec2", put("Database/" + P + "MultiAZ", False), "MultiAZ"),
    ("a plain database", "data", "ec2", put("Database/" + P + "StorageEncrypted", False), "StorageEncrypted"),
    ("a password in the template", "data", "ec2", put("Database/" + P + "MasterUserPassword", "secret"), "MasterUserPassword"),
    ("no TLS to the database", "data", "ec2", put("DatabaseSettings/" + P + "Parameters", {"log_connections": "1"}), "Parameters"),
    ("brokers that take plain text", "data", "eks", put("Log/" + P + "EncryptionInfo/EncryptionInTransit/ClientBroker", "TLS_PLAINTEXT"), "ClientBroker"),
    ("brokers without names", "data", "eks", put("Log/" + P + "ClientAuthentication/Unauthenticated/Enabled", True), "Unauthenticated"),
    ("public brokers", "data", "eks", put("Log/" + P + "BrokerNodeGroupInfo/ConnectivityInfo/PublicAccess/Type", "SERVICE_PROVIDED_EIPS"), "PublicAccess"),
    ("two replicas", "data", "eks", put("LogSettings/" + P + "ServerProperties", "default.replication.factor=2\n"), "default.replication.factor=3 is missing"),
    ("plain Redis", "data", "eks", put("Redis/" + P + "TransitEncryptionEnabled", False), "TransitEncryptionEnabled"),
    ("a Redis that forgets", "data", "eks", put("RedisSettings/" + P + "Properties/maxmemory-policy", "allkeys-lru"), "maxmemory-policy"),
    ("a table with AWS's key", "data", "eks", drop("Claims/" + P + "SSESpecification"), "SSESpecification"),
    ("a table of other keys and the old name", "data", "eks", put("Sessions/" + P + "KeySchema/0/AttributeName", "id"), "other keys want another name"),
    ("a table with an index more", "data", "eks", drop("Sessions/" + P + "LocalSecondaryIndexes"), "other keys want another name"),
    ("a table without an end", "data", "eks", drop("Sessions/" + P + "TimeToLiveSpecification"), "TimeToLive"),
    ("an archive that can be overwritten", "storage", "ec2", drop("Archive/" + P + "ObjectLockConfiguration"), "ObjectLock"),
    ("an archive that goes with its stack", "storage", "ec2", put("Archive/DeletionPolicy", "Delete"), "deleted with its stack"),
    ("a public bucket", "storage", "ec2", put("Assets/" + P + "PublicAccessBlockConfiguration/BlockPublicPolicy", False), "PublicAccessBlock"),
    ("a bucket for everybody", "storage", "ec2", allow("ArchivePolicy", Principal="*", Action="s3:GetObject", Resource="*"), "allows everybody"),
    ("a bucket without TLS", "storage", "ec2", drop("ArtifactsPolicy"), "without TLS"),
    ("a trail that cannot be checked", "storage", "ec2", put("Trail/" + P + "EnableLogFileValidation", False), "EnableLogFileValidation"),
    ("a trail without S3's objects", "storage", "ec2", drop("Trail/" + P + "EventSelectors/0/DataResources"), "DataResources"),
    ("a key for everybody", "keys", "ec2", lambda r: r["Key"]["Properties"]["KeyPolicy"]["Statement"].append({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:Decrypt", "Resource": "*"}), "allows everybody"),
    ("a key that never changes", "keys", "ec2", put("Key/" + P + "EnableKeyRotation", False), "EnableKeyRotation"),
    ("a policy that allows all of Kafka", "access", "eks", allow("OrdersPolicy", Action="kafka-cluster:*", Resource={"Ref": "LogArn"}), "allows kafka-cluster:*"),
    ("a policy for every topic", "access", "eks", allow("OrdersPolicy", Action="kafka-cluster:WriteData", Resource="arn:aws:kafka:us-east-1:123456789012:topic/orderlog/*/*"), "on every topic"),
    ("a policy for every secret", "access", "eks", allow("ApiPolicy", Action="secretsmanager:GetSecretValue", Resource="*"), "on everything"),
    ("PassRole", "access", "eks", allow("ApiPolicy", Action="iam:PassRole", Resource="arn:aws:iam::123456789012:role/x"), "iam:PassRole"),
    ("a user", "access", "eks", add("Planted", "AWS::IAM::User"), "not made here"),
    ("payments' policy for checkout", "eks", "eks", lambda r: r["CheckoutRole"]["Properties"]["ManagedPolicyArns"].append({"Ref": "PaymentsPolicy"}), "CheckoutRole"),
    ("a role for any service account", "eks", "eks", put("ApiRole/" + P + "AssumeRolePolicyDocument", {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": {"Ref": "Issuer"}}}]}), "any service account"),
    ("a role for another account", "eks", "eks", put("ApiRole/" + P + "AssumeRolePolicyDocument", {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "999999999999"}}]}), "may be taken by"),
    ("a public cluster", "eks", "eks", put("Cluster/" + P + "ResourcesVpcConfig/EndpointPublicAccess", True), "EndpointPublicAccess"),
    ("images that change", "eks", "eks", put("Repository/" + P + "ImageTagMutability", "MUTABLE"), "ImageTagMutability"),
    ("old instance metadata", "ec2", "ec2", put("ApiTemplate/" + P + "LaunchTemplateData/MetadataOptions/HttpTokens", "optional"), "HttpTokens"),
    ("plain disks", "ec2", "ec2", put("WorkerTemplate/" + P + "LaunchTemplateData/BlockDeviceMappings/0/Ebs/Encrypted", False), "Encrypted"),
    ("machines in another group", "ec2", "ec2", put("ApiTemplate/" + P + "LaunchTemplateData/SecurityGroupIds", [{"Ref": "WorkerGroupId"}]), "SecurityGroupIds"),
    ("a machine by itself", "ec2", "ec2", add("Planted", "AWS::EC2::Instance"), "nobody looked at"),
    ("no way back", "ec2", "ec2", put("ApiRelease/" + P + "AutoRollbackConfiguration/Enabled", False), "AutoRollback"),
    ("administrators", "ec2", "ec2", lambda r: r["ApiRole"]["Properties"]["ManagedPolicyArns"].append("arn:aws:iam::aws:policy/AdministratorAccess"), "AdministratorAccess"),
    ("no firewall", "edge", "ec2", drop("Shop/" + P + "DistributionConfig/WebACLId"), "WebACLId"),
    ("a firewall that only counts", "edge", "ec2", put("Firewall/" + P + "Rules/2/OverrideAction", {"Count": {}}), "does not block"),
    ("any rate", "edge", "ec2", drop("Firewall/" + P + "Rules/0"), "rate"),
    ("any body", "edge", "ec2", put("Firewall/" + P + "Rules/1/Statement/SizeConstraintStatement/Size", 10**7), "body"),
    ("plain HTTP to the shop", "edge", "ec2", put("Shop/" + P + "DistributionConfig/CacheBehaviors/0/ViewerProtocolPolicy", "allow-all"), "CacheBehaviors"),
    ("answers of the API kept", "edge", "ec2", put("Shop/" + P + "DistributionConfig/CacheBehaviors/0/CachePolicyId", "658327ea-f89d-4fab-a63d-7e88639e58f6"), "CacheBehaviors"),
    ("assets for any distribution", "edge", "ec2", drop("AssetsPolicy/" + P + "PolicyDocument/Statement/1/Condition"), "AssetsPolicy"),
    ("old TLS at the edge", "edge", "ec2", put("Shop/" + P + "DistributionConfig/ViewerCertificate/MinimumProtocolVersion", "TLSv1"), "MinimumProtocolVersion"),
    ("an alarm that wakes nobody", "observe", "ec2", put("ShardHalted/" + P + "AlarmActions", []), "AlarmActions"),
    ("an alarm less", "observe", "ec2", drop("LogOffline"), "LogOffline: is missing"),
    ("answers in parts that are not heeded", "notifier", "ec2", drop("Payments/" + P + "FunctionResponseTypes"), "Notifier.Payments"),
    ("failures that are dropped", "notifier", "ec2", drop("Orders/" + P + "DestinationConfig"), "OnFailure"),
    ("a release without tests", "pipeline", "ec2", drop("Pipeline/" + P + "Stages/1"), "stages"),
    ("a build as root of the host", "pipeline", "ec2", put("Build/" + P + "Environment/PrivilegedMode", True), "PrivilegedMode"),
    ("a secret in the template", "access", "ec2", put("SessionSecret/" + P + "SecretString", "x"), "SecretString"),
    ("a log that is kept for ever", "pipeline", "ec2", drop("BuildLogs/" + P + "RetentionInDays"), "RetentionInDays"),
    ("two notifiers", "main", "ec2/processes", drop("Notifier/Condition"), "the notifier runs on ['lambda', 'machines']"),
    ("pods that notify beside the function", "main", "eks", put("Pipeline/" + P + "Parameters/MailFrom", "shop@example.com"), "the notifier runs on ['lambda', 'pods']"),
    ("machines that nobody asked for", "main", "ec2/none", put("Ec2/" + P + "Parameters/MailFrom", "shop@example.com"), "the notifier runs on ['machines']"),
    ("a notifier that does not run", "main", "ec2/processes", put("Ec2/" + P + "Parameters/MailFrom", ""), "the output NotifierGroup is not there"),
    ("a notifier among the workers", "ec2", "ec2/processes", put("NotifierTemplate/" + P + "LaunchTemplateData/SecurityGroupIds", [{"Ref": "WorkerGroupId"}]), "SecurityGroupIds"),
    ("a notifier that may do what payments may", "ec2", "ec2/processes", lambda r: r["NotifierRole"]["Properties"]["ManagedPolicyArns"].append({"Ref": "PaymentsPolicy"}), "NotifierRole"),
    ("a machine that takes itself for another", "ec2", "ec2/processes", lambda r: put("NotifierTemplate/" + P + "LaunchTemplateData/UserData", r["WorkerTemplate"]["Properties"]["LaunchTemplateData"]["UserData"])(r), "UserData"),
    ("a notifier that looks into Redis", "firewall", "ec2/processes", rule_in("Redis", SourceSecurityGroupId={"Ref": "NotifierMachine"}, FromPort=6379, ToPort=6379), "no code of it does"),
    ("a notifier that never gets a release", "pipeline", "ec2/processes", drop("Pipeline/" + P + "Stages/2/Fn::If/2/Actions/1"), "deploys by"),
    ("a role with eleven policies", "ec2", "ec2", lambda r: r["WorkerRole"]["Properties"]["ManagedPolicyArns"].append({"Ref": "ConsumeNotifierPolicy"}), "more than the ten"),
    ("a ship without the database's secret", "pipeline", "eks", told_nothing("DATABASE_SECRET"), "nobody tells infra/aws/release/ship what DATABASE_SECRET is"),
    ("a ship without its size", "pipeline", "eks", told_nothing("SIZE"), "what SIZE is"),
    ("a ship without the shop's name", "pipeline", "eks/processes", told_nothing("SHOP_NAME"), "mails of the pods call the shop None"),
    ("machines without the shop's name", "ec2", "ec2/processes", told_less("NotifierTemplate", "SHOP_NAME"), "mails of the machines call the shop"),
    ("a function of another shop", "main", "ec2", put("Notifier/" + P + "Parameters/ShopName", "orderlog"), "mails of the lambda call the shop orderlog"),
    ("a way to a collector that is not there", "firewall", "ec2", drop("ApiToCollector/Condition"), "out of"),
    ("no way to the collector", "firewall", "ec2/processes/traces", drop("WorkerToCollector"), "does not reach sg-0"),
    ("a collector that lets nobody in", "firewall", "eks//traces", drop("CollectorFromDecider"), "does not reach sg-0 by 4318 (into)"),
    ("the collector's machine, all of it", "firewall", "eks//traces", put("ApiToCollector/" + P + "ToPort", 65535), "no code of it does"),
    ("traces to everybody", "firewall", "eks//traces", put("ApiToCollector/" + P[:-1], {"GroupId": {"Ref": "Api"}, "IpProtocol": "tcp", "FromPort": 4318, "ToPort": 4318, "CidrIp": "0.0.0.0/0"}), "may call everybody"),
    ("a migration that tells traces", "firewall", "eks//traces", put("ApiToCollector/" + P + "GroupId", {"Ref": "Topics"}), "<Firewall.Topics> reaches sg-0"),
    ("machines that tell no traces", "ec2", "ec2//traces", told_less("ApiTemplate", "OTEL_EXPORTER_OTLP_ENDPOINT"), "traces are told to"),
    ("pods that tell no traces", "pipeline", "eks//traces", told_nothing("TRACES_ENDPOINT"), "traces are told to"),
    ("traces that nobody asked for", "main", "eks", put("Pipeline/" + P + "Parameters/TracesEndpoint", "http://elsewhere:4318"), "traces are told to"),
    ("a function's own address", "notifier", "ec2", add("Planted", "AWS::Lambda::Url"), "nobody looked at"),
]

# Parameters that are refused, and a word of what is said.
REFUSED = [
    ({"runtime": "ec2", "Image": ""}, "Runtime=ec2 needs Image"),
    ({"notifier": "lambda", "NotifierPackage": ""}, "NotifierOn=lambda needs NotifierPackage"),
    ({"notifier": "none", "NotifierPackage": "notifier.zip"}, "say NotifierOn=lambda"),
    ({"traces": COLLECTOR, "CollectorGroup": ""}, "TracesEndpoint needs CollectorGroup"),
]


def refused():
    for parameters, word in REFUSED:
        try:
            templates.flatten("small", **{"runtime": "eks", **parameters})
            yield f"not refused: {parameters}"
        except ValueError as error:
            if word not in str(error):
                yield f"{parameters} are refused as {error}"


def main():
    wrong = [*refused()]
    for size in ("small", "production"):
        for runtime in ("eks", "ec2"):
            for on, traces in itertools.product(templates.NOTIFIERS, ("", COLLECTOR)):
                found = rules.complaints(templates.flatten(size, runtime, None, on, traces), runtime, on, traces)
                wrong += [f"{size} on {runtime}, notifier on {on}, traces to '{traces}': {text}" for text in found]
    originals = templates.load_all()
    for what, name, where, change, word in MUTATIONS:
        runtime, on, traces = (where + "//").split("/")[:3]
        on, traces = on or "lambda", COLLECTOR if traces else ""
        changed = {**originals, f"{name}.yaml": copy.deepcopy(originals[f"{name}.yaml"])}
        change(changed[f"{name}.yaml"]["Resources"])
        try:
            found = rules.complaints(templates.flatten("production", runtime, changed, on, traces), runtime, on, traces)
        except (KeyError, ValueError) as error:
            found = [str(error)]
        if not any(word in text for text in found):
            wrong.append(f"not found: {what} ({name}.yaml); said was {found or 'nothing'}")
    print("\n".join(wrong))
    print(f"{len(MUTATIONS)} mutations, {len(wrong)} complaints")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
