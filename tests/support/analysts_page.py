"""Runs the code of a page of docs/ and compares what it prints with what the page says: analysts_page.py PAGE [--write]

Fenced blocks of sql (given to psql), python (one session for the page) and sh (bash) run in their order, in the current
folder; a fenced block of text that follows one directly is what it prints. Ids, dates and times may be others than on
the page, and so may spaces. Of "text shape" only the first two lines, and that there is more, must agree: the rest depends
on the run. --write puts what was printed into the page."""
import contextlib
import difflib
import io
import pathlib
import re
import subprocess
import sys
import traceback

BLOCK = re.compile(r"^```(sql|python|sh)\n(.*?)^```\n(?:\n*^```(text(?: shape)?)\n(.*?)^```\n)?", re.S | re.M)
LEVELLED = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:\+00(?::00)?|Z)?)?"), "<time>"),
    (re.compile(r"[-─]{2,}"), "--"),
    (re.compile(r"[ \t]+"), " "),
]
session = {}  # what the page's Python has defined so far


def run_sql(text):
    return subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"], input=text, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def run_sh(text):
    return subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, text=True, stdout=subprocess.PIPE).stdout


def run_python(text):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, "<page>", "exec"), session)
    return out.getvalue()


def printed_by(language, text):
    text = {"sql": run_sql, "sh": run_sh, "python": run_python}[language](text)
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n" if lines else ""


def level(text, kind):
    for pattern, to in LEVELLED:
        text = pattern.sub(to, text)
    lines = [line.strip() for line in text.splitlines()]
    return lines[:2] + ["…"] * (len(lines) > 2) if kind == "text shape" else lines


class Page:
    def __init__(self, path):
        self.path, self.text = path, path.read_text(encoding="utf-8")
        self.run, self.wrong = 0, 0

    def complain(self, place, what):
        self.wrong += 1
        line = self.text.count("\n", 0, place) + 1
        print(f"{self.path.name}, line {line}: {what}")

    def block(self, match):
        """What it should be on the page."""
        language, code, kind, expected = match.groups()
        self.run += 1
        try:
            printed = printed_by(language, code)
        except subprocess.CalledProcessError as error:
            self.complain(match.start(), f"exit status {error.returncode}: {code}")
            return match.group(0)
        except Exception:
            self.complain(match.start(), traceback.format_exc(limit=-1))
            return match.group(0)
        if level(printed, kind) != level(expected or "", kind):
            said = difflib.unified_diff(level(expected or "", kind), level(printed, kind), "on the page", "printed", lineterm="")
            self.complain(match.start(), "\n".join(["it prints something else:", *said]))
        block = f"```{language}\n{code}```\n"
        return block + (f"\n```{kind or 'text'}\n{printed}```\n" if printed else "")


def main(path, write=None):
    page = Page(pathlib.Path(path))
    text = BLOCK.sub(page.block, page.text)
    print(f"{page.run} blocks, {page.wrong} wrong")
    if write == "--write":
        page.path.write_text(text, encoding="utf-8")
    return 1 if page.wrong or page.run < 20 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
