#!/usr/bin/env python3
"""Every command has a man page, which tells the same options, settings and exit codes as its --help, has the sections that
one looks for, and renders. Commands in examples, there and in the handbooks, exist and have the options that are given."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
ORDERLOG = os.environ["ORDERLOG_BIN"]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
SETTING = re.compile(r"\b(?:ORDERLOG_[A-Z_]+[A-Z]|DATABASE_URL|REDIS_URL)\b")
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
HANDBOOKS = ["README.md", "CONTRIBUTING.md", "docs/operations.md", "docs/analysts.md"]
# `orderlog NAME …` up to the end of the command; not in the middle of a word or a path's end.
EXAMPLE = re.compile(r"(?<![\w./-])(?:build/)?orderlog ([a-z]+)((?: +(?:'[^']*'|\"[^\"]*\"|[^\s;|&`)'\"]+))*)")
EXIT_CODES = re.compile(r"Exit codes: (.*?)(?:\n\n|\Z)", re.S)


def help_of(*command):
    return subprocess.run([ORDERLOG, *command, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout


def commands():
    listed = re.search(r"^Commands:\n(.*?)\n\n", help_of(), re.S | re.M)
    return {line.split(None, 1)[0]: line.split(None, 1)[1].strip() for line in listed.group(1).splitlines()}


def plain(source):
    """The text of a man page's source, near enough."""
    text = re.sub(r"\\f[A-Z]", "", source).replace("\\-", "-")
    return re.sub(r"^\.[A-Z]+ ?", "", text, flags=re.M).replace('"', "")


def options_of(text):
    # --type=… of other programs in examples would be found too; there are none.
    return set(OPTION.findall(text)) - {"--help", "--version"}


def exit_codes_of_page(source):
    section = re.search(r"^\.SH EXIT STATUS\n(.*?)^\.SH ", source, re.S | re.M)
    return re.findall(r"^\.B (\d)$", section.group(1), re.M)


def missing_sections(source, name, told):
    found = [section for section in re.findall(r"^\.SH (.*)$", source, re.M) if section in SECTIONS]
    wanted = [section for section in SECTIONS if section in found or section not in ("OPTIONS", "ENVIRONMENT")
              or (section == "ENVIRONMENT" and SETTING.search(told)) or (section == "OPTIONS" and options_of(told))]
    if found != wanted:
        yield f"sections {found}, should be {wanted}"
    if not re.search(rf"^{'orderlog ' + name if name else 'orderlog'}\b|^infra/|orderlog {name}", plain(source).split("EXAMPLES")[-1], re.M):
        yield "no example"


def wrong_examples(text, known):
    """Of a text with commands in it: those that do not exist, and options that they do not have."""
    for match in EXAMPLE.finditer(text.replace("\\\n", " ")):
        name, rest = match.groups()
        if name not in known:
            continue  # a sentence about orderlog; a command that is not there is found by its options
        for option in OPTION.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", rest)):
            if option not in known[name]:
                yield f"'{match.group(0)}': {name} has no option {option}"


def not_to_be_pasted(told):
    """Lines of a --help's examples that say more than the command, without a # before it."""
    for line in told.split("\nExamples:\n")[-1].split("\nExample:\n")[-1].splitlines() if "\nExample" in told else []:
        if re.search(r"\S {2,}[^#\s]", line) and "'" not in line:
            yield f"'{line.strip()}' cannot be pasted"


def complaints(name, summary, page_path):
    if not page_path.exists():
        yield f"{page_path.name} is missing"
        return
    source = page_path.read_text(encoding="utf-8")
    told, shown = help_of(*([name] if name else [])), plain(source)
    for kind, find in (("option", options_of), ("setting", lambda text: set(SETTING.findall(text)))):
        if kind == "option" and not name:
            continue  # what the examples of the overview show are the commands' own
        said, written = find(told), find(shown)
        for missing in sorted(said - written):
            yield f"{page_path.name}: {kind} {missing} of --help is missing"
        for unknown in sorted(written - said):
            yield f"{page_path.name}: {kind} {unknown} is not in --help"
    for wrong in not_to_be_pasted(told):
        yield f"--help of {name or 'orderlog'}: {wrong}"
    for wrong in missing_sections(source, name, told):
        yield f"{page_path.name}: {wrong}"
    codes = re.findall(r"(?:^|; )(\d) ", EXIT_CODES.search(told).group(1).replace("\n", " "))
    if codes != exit_codes_of_page(source):
        yield f"{page_path.name}: exit codes {exit_codes_of_page(source)}, --help has {codes}"
    if name and summary[0].lower() + summary[1:] not in shown:
        yield f"{page_path.name}: does not say '{summary}'"
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", "-K", "utf8", str(page_path)], check=False,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode or done.stderr:
            yield f"{page_path.name}: groff says {done.stderr}"


def main():
    folder, known = ROOT / "docs/man", commands()
    wrong = list(complaints("", "", folder / "orderlog.1"))
    for name, summary in known.items():
        wrong += complaints(name, summary, folder / f"orderlog-{name}.1")
    expected = {"orderlog.1"} | {f"orderlog-{name}.1" for name in known}
    wrong += [f"{path.name}: there is no such command" for path in folder.glob("*.1") if path.name not in expected]
    options = {name: options_of(help_of(name)) | {"--help"} for name in known}
    for path in [*folder.glob("*.1"), *(ROOT / handbook for handbook in HANDBOOKS)]:
        if path.exists():
            text = path.read_text(encoding="utf-8")
            wrong += [f"{path.name}: {why}" for why in wrong_examples(plain(text) if path.suffix == ".1" else text, options)]
    overview = (folder / "orderlog.1").read_text(encoding="utf-8")
    wrong += [f"orderlog.1 does not name {name}" for name in known if f".BR orderlog-{name} (1)\n" not in overview]
    print("\n".join(wrong) or f"{len(expected)} pages")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
