"""The services that must be there, each with the properties that matter."""
import re

from environment import ROOT
from rules import as_list, of_type, shipped, statements, wants


# Where an action's service is not called as its endpoint is.
ENDPOINTS = {"cloudwatch": "monitoring", "ses": "email"}


def services(flat, runtime):
    yield from network(flat)
    yield from stores(flat)
    yield from buckets(flat)
    yield from edge(flat)
    yield from watched(flat)
    yield from (on_eks if runtime == "eks" else on_ec2)(flat)
    yield from notifier(flat)
    yield from pipeline(flat, runtime)


def network(flat):
    zones = {p["AvailabilityZone"] for _, p in of_type(flat, "AWS::EC2::Subnet")}
    if len(zones) != 3:
        yield f"VPC: {len(zones)} zones"
    ways = {p["ServiceName"].rsplit("us-east-1.", 1)[1]: p for _, p in of_type(flat, "AWS::EC2::VPCEndpoint")}
    for service in ("s3", "dynamodb"):
        if service not in ways or ways[service]["VpcEndpointType"] != "Gateway" or len(ways[service]["RouteTableIds"]) != 4:
            yield f"VPC: no gateway endpoint for {service} in all route tables"
    for service in ("sts", "secretsmanager", "kms", "logs", "monitoring", "ecr.api", "ecr.dkr", "lambda", "email", "ssm",
                    "ssmmessages", "codedeploy", "codedeploy-commands-secure"):
        if service not in ways or ways[service]["VpcEndpointType"] != "Interface" or not ways[service].get("PrivateDnsEnabled"):
            yield f"VPC: no interface endpoint for {service}"
    # What the roles of machines and pods may call, these can reach: but for two groups they have no way to the internet.
    for name, p in of_type(flat, "AWS::IAM::ManagedPolicy"):
        for action in sorted({a for s in statements(p["PolicyDocument"]) for a in as_list(s["Action"])}):
            service = action.split(":")[0]
            if service != "kafka-cluster" and ENDPOINTS.get(service, service) not in ways:
                yield f"{name}: may call {action}, but there is no way to {service}"
    yield from wants(flat, "Network.FlowLog", TrafficType="ALL")


# Of tables, with those of their local indexes; what has once had a name had these.
KEYS = {"orderlog-claims": [["id"]], "orderlog-revoked-sessions": [["kind", "id"], ["kind", "revoked_us"]], "orderlog-views": [["id"]]}


def stores(flat):
    settings = flat["Data.LogSettings"]["Properties"]["ServerProperties"] if "Data.LogSettings" in flat else ""
    for line in ("default.replication.factor=3", "min.insync.replicas=2", "unclean.leader.election.enable=false",
                 "auto.create.topics.enable=false"):
        if line not in settings.split("\n"):
            yield f"Data.LogSettings: {line} is missing"
    yield from wants(flat, "Data.Log", NumberOfBrokerNodes=3, StorageMode="TIERED", ConfigurationInfo__Arn="<Data.LogSettings:Arn>",
                     ClientAuthentication__Sasl__Iam__Enabled=True, ClientAuthentication__Unauthenticated__Enabled=False,
                     BrokerNodeGroupInfo__ConnectivityInfo__PublicAccess__Type="DISABLED")
    yield from wants(flat, "Data.Database", Engine="postgres", MultiAZ=True, PubliclyAccessible=False, DeletionProtection=True,
                     ManageMasterUserPassword=True, MasterUserPassword=None, BackupRetentionPeriod=lambda days: days >= 7)
    yield from wants(flat, "Data.Redis", MultiAZEnabled=True, AutomaticFailoverEnabled=True, NumCacheClusters=lambda n: n >= 2,
                     AuthToken=lambda token: str(token).startswith("{{resolve:secretsmanager:"))
    yield from wants(flat, "Data.RedisSettings", **{"Properties__maxmemory-policy": "noeviction"})
    for table in ("Claims", "Sessions", "Views"):
        yield from wants(flat, f"Data.{table}", PointInTimeRecoverySpecification__PointInTimeRecoveryEnabled=True,
                         BillingMode="PAY_PER_REQUEST")
    for _, p in of_type(flat, "AWS::DynamoDB::Table"):
        keys = [[k["AttributeName"] for k in at["KeySchema"]] for at in [p, *p.get("LocalSecondaryIndexes", [])]]
        if KEYS.get(p["TableName"]) != keys:
            yield f"{p['TableName']}: CloudFormation cannot replace a table of a fixed name; other keys want another name, not {keys}"
    for table in ("Claims", "Sessions"):
        yield from wants(flat, f"Data.{table}", TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True})
    for name in ("Session", "Id", "Personal", "Operators", "Provider", "Webhook"):
        yield from wants(flat, f"Access.{name}Secret", GenerateSecretString__PasswordLength=64, SecretString=None)


def buckets(flat):
    for name in ("Archive", "Assets", "Artifacts", "Logs"):
        yield from wants(flat, f"Storage.{name}", VersioningConfiguration__Status="Enabled", AccessControl=None,
                         PublicAccessBlockConfiguration={"BlockPublicAcls": True, "BlockPublicPolicy": True,
                                                         "IgnorePublicAcls": True, "RestrictPublicBuckets": True},
                         LifecycleConfiguration__Rules=lambda rules: rules and all(r["Status"] == "Enabled" for r in rules))
    yield from wants(flat, "Storage.Archive", ObjectLockEnabled=True,
                     ObjectLockConfiguration__Rule__DefaultRetention=lambda r: r and r["Days"] >= 365)
    if flat.get("Storage.Archive", {}).get("DeletionPolicy") != "Retain":
        yield "Storage.Archive: is deleted with its stack"
    yield from wants(flat, "Storage.Trail", IsLogging=True, EnableLogFileValidation=True, IsMultiRegionTrail=True,
                     EventSelectors__0__IncludeManagementEvents=True, EventSelectors__0__ReadWriteType="All",
                     EventSelectors__0__DataResources__0__Type="AWS::S3::Object",
                     EventSelectors__0__DataResources__0__Values=lambda v: v and "<Storage.Archive:Arn>/" in v)


def edge(flat):
    yield from wants(flat, "Edge.Firewall", Scope="CLOUDFRONT")
    rules = {rule["Name"]: rule for rule in flat.get("Edge.Firewall", {"Properties": {"Rules": []}})["Properties"]["Rules"]}
    for name in ("CommonRuleSet", "KnownBadInputsRuleSet", "SQLiRuleSet", "AmazonIpReputationList"):
        if rules.get(f"AWSManagedRules{name}", {}).get("OverrideAction") != {"None": {}}:
            yield f"Edge.Firewall: {name} does not block"
    rate = rules.get("rate", {"Statement": {}})
    if rate["Statement"].get("RateBasedStatement", {}).get("AggregateKeyType") != "IP" or "Block" not in rate["Action"]:
        yield "Edge.Firewall: nothing limits the rate of an address"
    size = rules.get("body", {"Statement": {}})
    if size["Statement"].get("SizeConstraintStatement", {}).get("Size") != 65536 or "Block" not in size["Action"]:
        yield "Edge.Firewall: nothing limits a body"
    config = "DistributionConfig__"
    yield from wants(flat, "Edge.Shop", **{
        config + "WebACLId": "<Edge.Firewall:Arn>", config + "ViewerCertificate__MinimumProtocolVersion": "TLSv1.2_2021",
        config + "ViewerCertificate__AcmCertificateArn": "<Balancer.Certificate>",
        config + "Origins__0__OriginAccessControlId": "<Edge.AssetsAccess:Id>",
        config + "Origins__1__VpcOriginConfig__VpcOriginId": "<Edge.Inward:Id>",
        config + "DefaultCacheBehavior__ViewerProtocolPolicy": lambda p: p in ("redirect-to-https", "https-only"),
        config + "CacheBehaviors": lambda all_: all_ and all(b["ViewerProtocolPolicy"] == "https-only" for b in all_)
        and all_[0]["PathPattern"] == "/v1/*" and all_[0]["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"})
    yield from wants(flat, "Edge.AssetsAccess", OriginAccessControlConfig__SigningBehavior="always")
    yield from wants(flat, "Edge.Inward", VpcOriginEndpointConfig__OriginProtocolPolicy="https-only")
    yield from wants(flat, "Edge.AssetsPolicy", PolicyDocument__Statement__1__Condition__StringEquals=lambda c: c and c.get(
        "aws:SourceArn") == "arn:aws:cloudfront::123456789012:distribution/<Edge.Shop>")
    for name, kind in (("Name", "A"), ("Name6", "AAAA")):
        yield from wants(flat, f"Edge.{name}", Type=kind, AliasTarget__DNSName="<Edge.Shop:DomainName>")
    yield from wants(flat, "Balancer.Certificate", ValidationMethod="DNS")
    yield from wants(flat, "Balancer.Targets", HealthCheckPath="/readyz", Port=8080)


def watched(flat):
    alarms = dict(of_type(flat, "AWS::CloudWatch::Alarm"))
    for what in ("ApiErrors", "ApiAway", "ShutToWrites", "ShardHalted", "DeciderBehind", "OutboxStuck", "PaymentsUnknown",
                 "DeadLetters", "NothingTold", "LogOffline", "DatabaseDiskLow"):
        yield from wants(flat, f"Observe.{what}", AlarmActions=["<Keys.Alarms>"])
    for name in alarms:
        if name.startswith("Observe.") and f"<{name}:Arn>" not in str(flat["Observe.Selling"]) and \
                name.split(".")[1] in ("ApiErrors", "ApiAway", "ShardHalted", "PaymentsUnknown"):
            yield f"{name}: the dashboard does not show it"


def on_eks(flat):
    yield from wants(flat, "Eks.Cluster", ResourcesVpcConfig__EndpointPublicAccess=False,
                     ResourcesVpcConfig__EndpointPrivateAccess=True, Logging__ClusterLogging__EnabledTypes=lambda t: t and len(t) == 5)
    yield from wants(flat, "Eks.Issuer", ClientIdList=["sts.amazonaws.com"])
    yield from wants(flat, "Eks.Machines", ScalingConfig__MinSize=lambda n: n >= 2)
    yield from wants(flat, "Eks.Repository", ImageTagMutability="IMMUTABLE", ImageScanningConfiguration__ScanOnPush=True)
    yield from wants(flat, "Balancer.Targets", TargetType="ip")


def on_ec2(flat):
    kinds = {"Api": "Api", "Worker": "Worker"} | ({"Notifier": "NotifierMachine"} if "Ec2.NotifierMachines" in flat else {})
    for kind, group in kinds.items():
        fewest = 1 if kind == "Notifier" else 2  # mails can wait for another machine
        yield from wants(flat, f"Ec2.{kind}Machines", MinSize=lambda n, fewest=fewest: n >= fewest,
                         VPCZoneIdentifier=[f"<Network.Private{zone}>" for zone in "ABC"])
        yield from wants(flat, f"Ec2.{kind}Template", LaunchTemplateData__SecurityGroupIds=[f"<Firewall.{group}>"],
                         LaunchTemplateData__UserData=lambda text, kind=kind: text and f"MACHINE={kind.lower()}\n" in text)
        yield from wants(flat, f"Ec2.{kind}Release", AutoRollbackConfiguration__Enabled=True, AlarmConfiguration__Enabled=True,
                         AutoRollbackConfiguration__Events=["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"])
    yield from wants(flat, "Ec2.ApiMachines", TargetGroupARNs=["<Balancer.Targets>"], HealthCheckType="ELB")
    yield from wants(flat, "Ec2.ApiRelease", DeploymentStyle__DeploymentOption="WITH_TRAFFIC_CONTROL")
    yield from wants(flat, "Balancer.Targets", TargetType="instance")


# What the function reads: the inputs of core/domain/notices.c, and where to write to.
NOTIFIED = {"Orders": "shop.order.events.v1", "Payments": "shop.payment.events.v1", "Addresses": "shop.personal.v1"}


def one_notifier(flat, runtime, on):
    """Where NotifierOn says, and nowhere else: claims are in different places, so that of two each would send every mail."""
    runs = {"lambda": "Notifier.Notifier" in flat, "machines": "Ec2.NotifierMachines" in flat, "pods": bool(shipped(flat).get("MAIL_FROM"))}
    wanted = {"none": set(), "lambda": {"lambda"}, "processes": {"machines" if runtime == "ec2" else "pods"}}[on]
    found = {place for place, there in runs.items() if there}
    variables = flat.get("Notifier.Notifier", {"Properties": {}})["Properties"].get("Environment", {"Variables": {}})["Variables"]
    machines = flat.get("Ec2.NotifierTemplate", {"Properties": {}})["Properties"].get("LaunchTemplateData", {"UserData": ""})["UserData"]
    names = {"lambda": variables.get("ORDERLOG_SHOP_NAME"), "pods": shipped(flat).get("SHOP_NAME"),
             "machines": "".join(re.findall(r"^SHOP_NAME=(.*)$", machines, re.M))}
    for place in sorted(found):
        if names[place] != "shop.example.com":
            yield f"NotifierOn={on} on {runtime}: mails of the {place} call the shop {names[place]}"
    if found != wanted:
        yield f"NotifierOn={on} on {runtime}: the notifier runs on {sorted(found)}, not on {sorted(wanted)}"


def notifier(flat):
    if not any(name.startswith("Notifier.") for name in flat):
        return
    yield from wants(flat, "Notifier.Notifier", Runtime="provided.al2023", VpcConfig__SecurityGroupIds=["<Firewall.Notifier>"])
    for name, topic in NOTIFIED.items():
        yield from wants(flat, f"Notifier.{name}", EventSourceArn="<Data.Log:Arn>", Topics=[topic],
                         FunctionResponseTypes=["ReportBatchItemFailures"], ProvisionedPollerConfig__MinimumPollers=lambda n: n >= 1,
                         DestinationConfig__OnFailure__Destination="<Notifier.Failures:Arn>")


def ship(flat):
    """What infra/aws/release/ship wants to know, somebody tells it: the project, its buildspec, or CodeBuild itself."""
    spec = (ROOT / "infra/aws/buildspec-eks.yml").read_text(encoding="utf-8")
    names = re.findall(r"(?:wanted|optional)\+?=\(([^)]*)\)", (ROOT / "infra/aws/release/ship").read_text(encoding="utf-8"))
    asked = " ".join(names).split() + re.findall(r'release/ship "\$(\w+)"', spec)
    told = shipped(flat).keys() | set(re.findall(r"\b([A-Z_]+)=", spec)) | {"AWS_REGION"}
    for name in asked:
        if name not in told:
            yield f"Pipeline.Ship: nobody tells infra/aws/release/ship what {name} is"


def build(flat):
    """What buildspec.yml wants to know, the project tells it."""
    spec = (ROOT / "infra/aws/buildspec.yml").read_text(encoding="utf-8")
    variables = flat["Pipeline.Build"]["Properties"]["Environment"].get("EnvironmentVariables", [])
    told = {v["Name"]: v["Value"] for v in variables}
    for name in set(re.findall(r"\$\{?([A-Z_]+)", spec)) - set(re.findall(r"\b([A-Z_]+)=", spec)) - told.keys():
        yield f"Pipeline.Build: nobody tells infra/aws/buildspec.yml what {name} is"
    if told.get("LOG_ARN", "<Data.Log:Arn>") != "<Data.Log:Arn>":
        yield f"Pipeline.Build: its log is {told['LOG_ARN']}"


def pipeline(flat, runtime):
    stages = flat["Pipeline.Pipeline"]["Properties"]["Stages"] if "Pipeline.Pipeline" in flat else []
    names = [stage["Name"] for stage in stages]
    if names != ["Source", "Test", "Deploy"]:
        yield f"Pipeline.Pipeline: its stages are {names}"
        return
    wanted = [("CodeBuild", "<Pipeline.Ship>")]
    if runtime == "ec2":
        wanted = [("CodeDeploy", f"<{name}>") for name in ("Ec2.WorkerRelease", "Ec2.NotifierRelease", "Ec2.ApiRelease") if name in flat]
    found = [(action["ActionTypeId"]["Provider"], action["Configuration"].get("DeploymentGroupName") or action["Configuration"]["ProjectName"])
             for action in stages[2]["Actions"]]
    if found != wanted:
        yield f"Pipeline.Pipeline: deploys by {found}, not {wanted}"
    yield from build(flat)
    if runtime == "eks":
        yield from ship(flat)
    yield from wants(flat, "Pipeline.Build", Source__BuildSpec="infra/aws/buildspec.yml", Environment__PrivilegedMode=None)
