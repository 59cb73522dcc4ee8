"""Stand-ins for AWS's agents: a buildspec's phases, and an appspec's files and hooks, run as documented."""
import fnmatch
import os
import pathlib
import shutil
import subprocess

import yaml


def build(folder, spec, environment):
    """CodeBuild: each phase's commands in one shell, which ends at the first that fails; returns the artifacts' paths, or
    raises what failed. A phase with on-failure: ABORT ends the build; post_build runs otherwise."""
    document = yaml.safe_load((folder / spec).read_text(encoding="utf-8"))
    if document["version"] != 0.2:
        raise ValueError("buildspec: its version is not 0.2")
    unknown = set(document["phases"]) - {"install", "pre_build", "build", "post_build"}
    if unknown:
        raise ValueError(f"buildspec: there are no phases {unknown}")
    failed = None
    for phase in ("install", "pre_build", "build", "post_build"):
        given = document["phases"].get(phase)
        if not given or failed and (phase != "post_build" or failed[1] == "ABORT"):
            continue
        done = subprocess.run(["bash", "-ec", "\n".join(given["commands"])], cwd=folder, env=environment, check=False)
        if done.returncode != 0:
            failed = failed or (phase, given.get("on-failure", "CONTINUE"))
    if failed:
        raise RuntimeError(f"phase {failed[0]} failed")
    base = folder / document["artifacts"]["base-directory"]
    return base, [path for path in sorted(base.rglob("*")) if path.is_file() and any(
        fnmatch.fnmatch(str(path.relative_to(base)), pattern) or pattern == "**/*" for pattern in document["artifacts"]["files"])]


# In a first deployment there is no ApplicationStop: it is the release before that stops.
EVENTS = ("ApplicationStop", "BeforeInstall", "Install", "AfterInstall", "ApplicationStart", "ValidateService")


def deploy(bundle, root, before, environment):
    """CodeDeploy: the events in their order; `before` is the bundle of the release before, if there is one. Raises what
    failed."""
    document = yaml.safe_load((bundle / "appspec.yml").read_text(encoding="utf-8"))
    if document["os"] != "linux" or set(document["hooks"]) - set(EVENTS):
        raise ValueError(f"appspec: {document['os']}, {sorted(document['hooks'])}")
    for event in EVENTS:
        if event == "Install":
            install(bundle, root, document)
            continue
        source = before if event == "ApplicationStop" else bundle
        for hook in document["hooks"].get(event, []) if source else []:
            script = source / hook["location"]
            if not os.access(script, os.X_OK):
                raise RuntimeError(f"{event}: {hook['location']} cannot be run")
            done = subprocess.run([script], cwd=root, env={**environment, "LIFECYCLE_EVENT": event}, check=False,
                                  timeout=hook["timeout"], capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"{event} failed: {done.stderr}")


def install(bundle, root, document):
    for entry in document["files"]:
        source, target = bundle / entry["source"], root / entry["destination"].lstrip("/")
        if not source.exists():
            raise RuntimeError(f"Install: the bundle has no {entry['source']}")
        if source.is_dir():  # what is in it; of a file, only itself
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for entry in document.get("permissions", []):
        for path in pathlib.Path(root / entry["object"].lstrip("/")).glob(entry["pattern"]):
            path.chmod(int(str(entry["mode"]), 8))
