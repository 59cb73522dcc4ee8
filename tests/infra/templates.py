"""infra/aws as one flat set of resources: every intrinsic is worked out, parameters follow from stack to stack, and what
only AWS can know stays as a mark: '<Stack.Resource>' for Ref, '<Stack.Resource:Attribute>' for GetAtt."""
import json
import re

import yaml

from environment import ROOT

FOLDER = ROOT / "infra" / "aws"
PSEUDO = {"AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws", "AWS::StackName": "orderlog",
          "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": None}
GIVEN = {"Domain": "shop.example.com", "HostedZone": "Z0000000000000000000", "AlarmEmail": "ops@example.com",
         "Connection": "arn:aws:codeconnections:us-east-1:123456789012:connection/c", "SourceRepository": "shop/orderlog",
         "Image": "ami-0123456789abcdef0", "CollectorGroup": "sg-0"}
NOTIFIERS = ("none", "lambda", "processes")


class Loader(yaml.SafeLoader):
    """CloudFormation's short forms, as the long ones."""


def _tagged(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if name == "Fn::GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name: value}


Loader.add_multi_constructor("!", _tagged)
# A date is a version's text here.
Loader.yaml_implicit_resolvers = {first: [(tag, regexp) for tag, regexp in resolvers if "timestamp" not in tag]
                                  for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()}


def load(name):
    return yaml.load((FOLDER / name).read_text(encoding="utf-8"), Loader)


def load_all():
    return {path.name: load(path.name) for path in sorted(FOLDER.glob("*.yaml"))}


class Stack:
    """One template with its parameters' values."""

    def __init__(self, name, template, given):
        self.name, self.template, self.children = name, template, {}
        self.parameters = {}
        for key, spec in template.get("Parameters", {}).items():
            value = given.get(key, spec.get("Default"))
            if value is None:
                raise KeyError(f"{name}: nobody gives the parameter {key}")
            allowed = spec.get("AllowedValues")
            if allowed and value not in allowed:
                raise ValueError(f"{name}: {key} is {value}")
            if spec["Type"].startswith(("List<", "CommaDelimitedList")) and isinstance(value, str):
                value = value.split(",")
            self.parameters[key] = value
        for key in given:
            if key not in self.parameters:
                raise KeyError(f"{name}: has no parameter {key}")

    def condition(self, name):
        return self.value(self.template["Conditions"][name])

    def _ref(self, name):
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        if name in self.template["Resources"]:
            return f"<{self.name}.{name}>"
        raise KeyError(f"{self.name}: there is no {name}")

    def _att(self, name, attribute):
        if name in self.children and attribute.startswith("Outputs."):
            return self.children[name].output(attribute[8:])
        if name not in self.template["Resources"]:
            raise KeyError(f"{self.name}: there is no {name}")
        return f"<{self.name}.{name}:{attribute}>"

    def _sub(self, given):
        text, more = given if isinstance(given, list) else (given, {})
        more = {key: self.value(value) for key, value in more.items()}

        def one(match):
            name = match.group(1)
            if name in more:
                return str(more[name])
            return str(self._att(*name.split(".", 1)) if "." in name else self._ref(name))
        return re.sub(r"\$\{([A-Za-z0-9:.]+)\}", one, text)

    def value(self, x):
        if isinstance(x, list):
            return [v for v in map(self.value, x) if v is not None]
        if not isinstance(x, dict):
            return x
        if len(x) == 1:
            (key, v), = x.items()
            if key == "Ref":
                return self._ref(v)
            if key == "Condition" and isinstance(v, str):
                return self.condition(v)
            if key == "Fn::GetAtt":
                return self._att(v[0], ".".join(v[1:]))
            if key == "Fn::Sub":
                return self._sub(v)
            if key == "Fn::If":
                return self.value(v[1] if self.condition(v[0]) else v[2])
            if key.startswith("Fn::"):
                return self._function(key[4:], self.value(v))
        done = {key: self.value(v) for key, v in x.items()}
        return {key: v for key, v in done.items() if v is not None}

    def _function(self, name, v):
        if name == "Equals":
            return v[0] == v[1]
        if name == "And":
            return all(v)
        if name == "Not":
            return not v[0]
        if name == "FindInMap":
            return self.template["Mappings"][v[0]][v[1]][v[2]]
        if name == "Select":
            return v[1][int(v[0])]
        if name == "Split":
            parts = v[1].split(v[0])
            return parts if len(parts) > 1 else ["", v[1]]  # of a mark: what comes behind
        if name == "Join":
            return v[0].join(v[1])
        if name == "GetAZs":
            return ["us-east-1a", "us-east-1b", "us-east-1c"]
        if name == "Base64":
            return v
        raise KeyError(f"{self.name}: Fn::{name}")

    def output(self, name):
        output = self.template["Outputs"][name]
        if "Condition" in output and not self.condition(output["Condition"]):
            raise KeyError(f"{self.name}: the output {name} is not there with these parameters")
        return self.value(output["Value"])

    def obey(self):
        """CloudFormation's rules, which refuse parameters."""
        for rule in self.template.get("Rules", {}).values():
            for assertion in rule["Assertions"] if self.value(rule["RuleCondition"]) else []:
                if not self.value(assertion["Assert"]):
                    raise ValueError(f"{self.name}: {assertion['AssertDescription']}")

    def resources(self):
        for key, resource in self.template["Resources"].items():
            if "Condition" not in resource or self.condition(resource["Condition"]):
                yield key, resource


def _policies(value):
    """A policy may be given as text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        return json.loads(value)
    return value


def flatten(size, runtime, templates=None, notifier="lambda", traces="", **more):
    """{'Stack.Resource': {'Type', 'Properties', …}} of the whole, as deployed with these parameters."""
    templates = templates or load_all()
    given = {**GIVEN, "Size": size, "Runtime": runtime, "NotifierOn": notifier, "TracesEndpoint": traces,
             "NotifierPackage": "" if notifier == "none" else "notifier.zip", **more}
    root = Stack("main", templates["main.yaml"], given)
    root.obey()
    flat = {}
    waiting = dict(root.resources())
    while waiting:
        for name, resource in waiting.items():  # a stack whose parameters ask only for stacks that are there
            asked = set(re.findall(r"'Fn::GetAtt': \['(\w+)', 'Outputs", str(resource)))
            if not asked & (set(waiting) - {name}):
                break
        else:
            raise ValueError(f"these stacks wait for each other: {sorted(waiting)}")
        del waiting[name]
        properties = root.value(resource["Properties"])
        child = Stack(name, templates[properties["TemplateURL"]], properties["Parameters"])
        root.children[name] = child
        for key, inner in child.resources():
            done = {k: v for k, v in inner.items() if k not in ("Properties", "Condition")}
            done["Properties"] = child.value(inner.get("Properties", {}))
            if "AssumeRolePolicyDocument" in done["Properties"]:
                done["Properties"]["AssumeRolePolicyDocument"] = _policies(done["Properties"]["AssumeRolePolicyDocument"])
            flat[f"{name}.{key}"] = done
    for name in root.template["Outputs"]:
        root.output(name)
    for name, resource in flat.items():
        for asked in re.findall(r"<(\w+\.\w+)[:>]", json.dumps(resource)):
            if asked not in flat:
                raise KeyError(f"{name}: asks for {asked}, which is not there with these parameters")
    return flat
