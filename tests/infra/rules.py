"""What must hold of infra/aws, besides what linters know: each rule yields a text for each thing that is wrong."""
import itertools
import json
import re

EVERYWHERE = {"0.0.0.0/0", "::/0"}
LOG, SQL, REDIS, TLS, HTTP, OTLP = 9098, 5432, 6379, 443, 8080, 4318
# Who may open a connection to whom: what the code of each process calls, and nothing else.
CALLS = {
    "Balancer": {"Api": HTTP},
    "Api": {"Log": LOG, "Database": SQL, "Redis": REDIS, "Endpoints": TLS},
    "Decider": {"Log": LOG, "Database": SQL, "Endpoints": TLS},
    "Payments": {"Log": LOG, "Database": SQL, "Endpoints": TLS},
    "ProjectRedis": {"Log": LOG, "Redis": REDIS, "Endpoints": TLS},
    "ProjectPostgres": {"Log": LOG, "Database": SQL, "Endpoints": TLS},
    "Worker": {"Log": LOG, "Database": SQL, "Redis": REDIS, "Endpoints": TLS},
    "Topics": {"Log": LOG, "Endpoints": TLS},
    "Archive": {"Log": LOG, "Endpoints": TLS},
    "Notifier": {"Log": LOG, "Endpoints": TLS},
    "NotifierMachine": {"Log": LOG, "Database": SQL, "Endpoints": TLS},
    "Log": {"Log": LOG, "Endpoints": TLS},  # Lambda's pollers have the cluster's group
}
# Those without a group of their own here: by the gateway endpoints' prefix lists.
S3, DYNAMO = "pl-63a5400a", "pl-02cd2c6b"
STORES = {("Api", S3), ("Api", DYNAMO), ("NotifierMachine", S3), ("Archive", S3), ("ProjectRedis", DYNAMO), ("Worker", DYNAMO),
          ("Notifier", DYNAMO)}
TRACED = ("Api", "Decider", "Payments", "ProjectRedis", "ProjectPostgres", "Worker", "NotifierMachine")
PODS = {"Api": HTTP, "Decider": 9101, "Payments": 9101, "ProjectRedis": 9101, "ProjectPostgres": 9101, "Topics": None, "Archive": None}
PREFIX_LISTS = {"Firewall.BalancerFromCloudFront": "pl-3b927c52"}
# The payment provider is called from here; the pipeline talks to registries.
CALL_OUT = {"<Firewall.Payments>", "<Firewall.Worker>", "Pipeline.ShipGroup"}


def of_type(flat, *types):
    for name, resource in flat.items():
        if resource["Type"] in types:
            yield name, resource["Properties"]


def statements(document):
    found = document.get("Statement", [])
    return found if isinstance(found, list) else [found]


def as_list(x):
    return x if isinstance(x, list) else [x]


def _edge(source, target, properties):
    port = properties.get("FromPort")
    if properties.get("IpProtocol") not in ("tcp", "udp") or port != properties.get("ToPort"):
        port = f"{properties.get('IpProtocol')} {port}-{properties.get('ToPort')}"
    return source, target, port


def _wanted_edges(runtime, traces):
    edges = {(f"<Firewall.{a}>", f"<Firewall.{b}>", port) for a, calls in CALLS.items() for b, port in calls.items()}
    if traces:
        edges |= {(f"<Firewall.{a}>", "sg-0", OTLP) for a in TRACED}
    incoming, outgoing = set(edges), set(edges)
    if runtime == "eks":
        cluster = "<Eks.Cluster:ClusterSecurityGroupId>"
        names = {(f"<Firewall.{pod}>", cluster, 53) for pod in PODS}
        incoming |= names | {(cluster, f"<Firewall.{pod}>", port) for pod, port in PODS.items() if port}
        incoming.add(("<Pipeline.ShipGroup>", cluster, TLS))
        outgoing |= names
    return incoming, outgoing


def shipped(flat):
    """The settings of infra/aws/release/ship."""
    return {e["Name"]: e["Value"] for e in flat["Pipeline.Ship"]["Properties"]["Environment"]["EnvironmentVariables"]} \
        if "Pipeline.Ship" in flat else {}


def endpoints(flat):
    """Where processes are told to tell traces; '' is nowhere."""
    machines = [p["LaunchTemplateData"].get("UserData", "") for _, p in of_type(flat, "AWS::EC2::LaunchTemplate")]
    told = [(re.findall(r"^OTEL_EXPORTER_OTLP_ENDPOINT=(.*)$", text, re.M) or [None])[0] for text in machines if "MACHINE=" in text]
    return told + [shipped(flat).get("TRACES_ENDPOINT")] if shipped(flat) else told


def firewall(flat, runtime):
    incoming, outgoing, stores = set(), set(), set()
    for name, p in of_type(flat, "AWS::EC2::SecurityGroup"):
        if p.get("SecurityGroupIngress"):
            yield f"{name}: rules into a group are resources of their own here"
        for rule in p.get("SecurityGroupEgress", [{"CidrIp": "0.0.0.0/0"}]):
            if rule.get("CidrIp") != "127.0.0.1/32" and name not in CALL_OUT:
                yield f"{name}: may call {rule}"
    for name, p in of_type(flat, "AWS::EC2::SecurityGroupIngress"):
        if "CidrIp" in p or "CidrIpv6" in p:
            yield f"{name}: is open to {p.get('CidrIp') or p.get('CidrIpv6')}"
        elif "SourcePrefixListId" in p:
            if PREFIX_LISTS.get(name) != p["SourcePrefixListId"] or p["GroupId"] != "<Firewall.Balancer>" or \
                    (p["FromPort"], p["ToPort"]) != (443, 443):
                yield f"{name}: only CloudFront may reach anything, by the load balancer's 443"
        else:
            incoming.add(_edge(p["SourceSecurityGroupId"], p["GroupId"], p))
    for name, p in of_type(flat, "AWS::EC2::SecurityGroupEgress"):
        if "DestinationSecurityGroupId" in p:
            outgoing.add(_edge(p["GroupId"], p["DestinationSecurityGroupId"], p))
        elif "DestinationPrefixListId" in p:
            stores.add(_edge(p["GroupId"], p["DestinationPrefixListId"], p))
        elif p.get("CidrIp") in EVERYWHERE and (p["GroupId"] not in CALL_OUT or p["FromPort"] != 443 or p["ToPort"] != 443):
            yield f"{name}: {p['GroupId']} may call everybody"
        elif "CidrIp" in p and p["CidrIp"] not in EVERYWHERE or "CidrIpv6" in p:
            yield f"{name}: calls addresses, not groups"
    wanted_stores = {(f"<Firewall.{group}>", prefixes, TLS) for group, prefixes in STORES}
    for found, wanted, way in zip((incoming, outgoing, stores), (*_wanted_edges(runtime, any(endpoints(flat))), wanted_stores),
                                  ("into", "out of", "out of")):
        for source, target, port in sorted(found - wanted, key=str):
            yield f"{source} reaches {target} by {port} ({way}): no code of it does"
        for source, target, port in sorted(wanted - found, key=str):
            yield f"{source} does not reach {target} by {port} ({way})"


def reachable(flat, _runtime):
    public = {f"<Network.Public{zone}>" for zone in "ABC"}
    for name, p in of_type(flat, "AWS::EC2::Subnet"):
        if p.get("MapPublicIpOnLaunch") is not False:
            yield f"{name}: gives public addresses"
    for name, p in of_type(flat, "AWS::EC2::Route"):
        if "GatewayId" in p and p["RouteTableId"] != "<Network.PublicRoutes>":
            yield f"{name}: a way to the internet gateway besides the public subnets'"
        if p["RouteTableId"] == "<Network.DataRoutes>":
            yield f"{name}: the data subnets have a way out"
    for zone in "ABC":
        for kind, table in (("Public", "PublicRoutes"), ("Data", "DataRoutes"), ("Private", f"PrivateTable{zone}")):
            pair = {"SubnetId": f"<Network.{kind}{zone}>", "RouteTableId": f"<Network.{table}>"}
            if pair not in [p for _, p in of_type(flat, "AWS::EC2::SubnetRouteTableAssociation")]:
                yield f"Network.{kind}{zone}: has not the routes of its kind"
    for name, resource in flat.items():
        if resource["Type"] not in ("AWS::EC2::NatGateway", "AWS::EC2::SubnetRouteTableAssociation") and \
                any(subnet in json.dumps(resource["Properties"]) for subnet in public):
            yield f"{name}: stands in a public subnet"
        if resource["Type"] in ("AWS::EC2::Instance", "AWS::Lambda::Url", "AWS::ApiGatewayV2::Api", "AWS::ApiGateway::RestApi"):
            yield f"{name}: {resource['Type']} is a way in that nobody looked at"
        for key in ("AssociatePublicIpAddress", "PubliclyAccessible", "EndpointPublicAccess"):
            if f'"{key}": true' in json.dumps(resource["Properties"]):
                yield f"{name}: {key}"
    for name, p in of_type(flat, "AWS::ElasticLoadBalancingV2::LoadBalancer"):
        if p.get("Scheme") != "internal":
            yield f"{name}: is reachable without CloudFront"
    data = [f"<Network.Data{zone}>" for zone in "ABC"]
    for name, key in (("Data.DatabaseSubnets", "SubnetIds"), ("Data.RedisSubnets", "SubnetIds")):
        if flat[name]["Properties"].get(key) != data:
            yield f"{name}: is not in the three data subnets"
    if flat["Data.Log"]["Properties"]["BrokerNodeGroupInfo"]["ClientSubnets"] != data:
        yield "Data.Log: is not in the three data subnets"
    for name, group in (("Log", "Log"), ("Database", "Database"), ("Redis", "Redis")):
        if f'["<Firewall.{group}>"]' not in json.dumps(flat[f"Data.{name}"]["Properties"]):
            yield f"Data.{name}: has other groups than its own"
    for name, p in of_type(flat, "AWS::ElasticLoadBalancingV2::ListenerRule"):
        if p["Priority"] == 5 and p["Conditions"][0]["PathPatternConfig"]["Values"] != ["/metrics", "/livez", "/readyz"]:
            yield f"{name}: metrics and probes are not hidden"


def for_everybody(flat, _runtime):
    """What a resource's own policy gives to all."""
    for name, resource in flat.items():
        for key in ("PolicyDocument", "KeyPolicy", "RepositoryPolicyText", "ResourcePolicy"):
            document = resource["Properties"].get(key)
            for s in statements(document) if isinstance(document, dict) else []:
                principal = s.get("Principal")
                if s["Effect"] == "Allow" and (principal == "*" or isinstance(principal, dict) and "*" in principal.values()):
                    yield f"{name}: {s.get('Sid')} allows everybody"
    policies = {p["Bucket"]: p["PolicyDocument"] for _, p in of_type(flat, "AWS::S3::BucketPolicy")}
    for name, _ in of_type(flat, "AWS::S3::Bucket"):
        if not any(s["Effect"] == "Deny" and s["Action"] == "s3:*" and len(s["Resource"]) == 2 and
                   s.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
                   for s in statements(policies.get(f"<{name}>", {}))):
            yield f"{name}: can be read and written without TLS"


def wants(flat, name, **wanted):
    """Each key is a path with '__' between, of the properties."""
    if name not in flat:
        yield f"{name}: is missing"
        return
    for path, value in wanted.items():
        at = flat[name]["Properties"]
        for part in path.split("__"):
            at = at[int(part)] if isinstance(at, list) and part.isdigit() and int(part) < len(at) else \
                at.get(part) if isinstance(at, dict) else None
        if callable(value) and not value(at) or not callable(value) and at != value:
            yield f"{name}: {path.replace('__', '.')} is {json.dumps(at)}"


def encrypted(flat, runtime):
    key = "<Keys.Key:Arn>"
    yield from wants(flat, "Keys.Key", EnableKeyRotation=True)
    yield from wants(flat, "Data.Log", EncryptionInfo__EncryptionAtRest__DataVolumeKMSKeyId=key,
                     EncryptionInfo__EncryptionInTransit__ClientBroker="TLS", EncryptionInfo__EncryptionInTransit__InCluster=True)
    yield from wants(flat, "Data.Database", StorageEncrypted=True, KmsKeyId=key, PerformanceInsightsKMSKeyId=key)
    yield from wants(flat, "Data.DatabaseSettings", **{"Parameters": lambda p: p.get("rds.force_ssl") == "1"})
    yield from wants(flat, "Data.Redis", TransitEncryptionEnabled=True, AtRestEncryptionEnabled=True, KmsKeyId=key)
    if runtime == "eks":
        yield from wants(flat, "Eks.Cluster", EncryptionConfig__0__Provider__KeyArn=key, EncryptionConfig__0__Resources=["secrets"])
        yield from wants(flat, "Eks.Repository", EncryptionConfiguration__EncryptionType="KMS")
    every = {
        "AWS::SecretsManager::Secret": {"KmsKeyId": key},
        "AWS::Logs::LogGroup": {"KmsKeyId": key, "RetentionInDays": 365},
        "AWS::DynamoDB::Table": {"SSESpecification__KMSMasterKeyId": key, "SSESpecification__SSEEnabled": True},
        "AWS::SQS::Queue": {"KmsMasterKeyId": key},
        "AWS::SNS::Topic": {"KmsMasterKeyId": "<Keys.Key>"},
        "AWS::CloudTrail::Trail": {"KMSKeyId": key},
        "AWS::CodeBuild::Project": {"EncryptionKey": key},
        "AWS::CodePipeline::Pipeline": {"ArtifactStore__EncryptionKey__Id": key},
        "AWS::Lambda::Function": {"KmsKeyArn": key},
        "AWS::S3::Bucket": {"BucketEncryption__ServerSideEncryptionConfiguration__0__ServerSideEncryptionByDefault__SSEAlgorithm":
                            lambda a: a in ("aws:kms", "AES256")},
        "AWS::EC2::LaunchTemplate": {"LaunchTemplateData__BlockDeviceMappings__0__Ebs__Encrypted": True,
                                     "LaunchTemplateData__MetadataOptions__HttpTokens": "required"},
        "AWS::ElasticLoadBalancingV2::Listener": {"Protocol": "HTTPS", "SslPolicy": lambda p: "TLS13" in str(p)},
    }
    for name, resource in flat.items():
        yield from wants(flat, name, **every.get(resource["Type"], {}))


def permissions(flat, _runtime):
    # Actions that AWS gives for no resource in particular.
    anywhere = {"cloudwatch:PutMetricData", "kafka:GetBootstrapBrokers", "ecr:GetAuthorizationToken", "xray:PutTraceSegments",
                "xray:PutTelemetryRecords"}
    prefixes = ("codedeploy-commands-secure:", "ec2:Describe", "elasticloadbalancing:Describe")
    network = {"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"}  # the pipeline's step in the network
    documents = [(name, p["PolicyDocument"]) for name, p in of_type(flat, "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy")]
    documents += [(name, inline["PolicyDocument"]) for name, p in of_type(flat, "AWS::IAM::Role") for inline in p.get("Policies", [])]
    for name, document in documents:
        for s, action in itertools.chain.from_iterable(((s, a) for a in as_list(s["Action"])) for s in statements(document)):
            if s["Effect"] == "Allow" and "*" in action:
                yield f"{name}: allows {action}"
            if action in ("iam:PassRole", "sts:AssumeRole"):
                yield f"{name}: allows {action}"
            if "*" in as_list(s["Resource"]) and action not in anywhere and not action.startswith(prefixes) and \
                    not (action in network and name == "Pipeline.ShipRole"):
                yield f"{name}: allows {action} on everything"
            if name.startswith("Access.") and any(r.endswith(("topic/*", "topic/orderlog/*/*")) for r in as_list(s["Resource"])):
                yield f"{name}: {action} on every topic"
    for name, p in of_type(flat, "AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group"):
        yield f"{name}: people and keys are not made here"
    for name, p in of_type(flat, "AWS::IAM::Role"):
        for s in statements(p["AssumeRolePolicyDocument"]):
            principal = s["Principal"]
            if set(principal) == {"Federated"}:
                told = s.get("Condition", {}).get("StringEquals", {})
                if not {key.rsplit(":", 1)[1] for key in told} == {"aud", "sub"} or "*" in "".join(told.values()):
                    yield f"{name}: any service account may take it"
            elif set(principal) != {"Service"}:
                yield f"{name}: may be taken by {principal}"
        for policy in p.get("ManagedPolicyArns", []):
            if policy.endswith(("AdministratorAccess", "PowerUserAccess", "FullAccess")):
                yield f"{name}: has {policy}"


def roles(flat, runtime):
    """One role for each process; on EC2 one for each kind of machine."""
    deciders = ("Checkout", "Orders", "Inventory", "Payments", "Fulfilment")
    if runtime == "eks":
        wanted = {f"Eks.{name}Role": {name} for name in ("Api", "ProjectRedis", "ProjectPostgres", "Topics", "Scaler", "Archive",
                                                               "ConsumeNotifier") + deciders}
        wanted["Eks.ConsumeAllRole"] = set(deciders)
    else:
        wanted = {"Ec2.ApiRole": {"Api"}, "Ec2.WorkerRole": {"ProjectRedis", "ProjectPostgres", "Archive", *deciders}}
        if "Ec2.NotifierMachines" in flat:
            wanted["Ec2.NotifierRole"] = {"ConsumeNotifier"}
    for name, policies in wanted.items():
        ours = {f"<Access.{policy}Policy>" for policy in policies}
        found = {p for p in flat.get(name, {"Properties": {}})["Properties"].get("ManagedPolicyArns", []) if "<Access." in p}
        if found != ours:
            yield f"{name}: has {sorted(found)}, not {sorted(ours)}"
    for name, p in of_type(flat, "AWS::IAM::Role"):
        if len(p.get("ManagedPolicyArns", [])) > 10:
            yield f"{name}: has more than the ten managed policies that AWS lets a role have"


RULES = [firewall, reachable, for_everybody, encrypted, permissions, roles]


def complaints(flat, runtime, on="lambda", traces=""):
    """`on` is what NotifierOn was, `traces` TracesEndpoint."""
    from services import one_notifier, services  # its table is long
    found = [f"{rule.__name__}: {text}" for rule in [*RULES, services] for text in rule(flat, runtime)]
    if set(endpoints(flat)) != {traces}:
        found.append(f"endpoints: traces are told to {endpoints(flat)}, not to '{traces}'")
    return found + [f"one_notifier: {text}" for text in one_notifier(flat, runtime, on)]
