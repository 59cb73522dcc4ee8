#!/usr/bin/env python3
"""`up` has a notifier if ORDERLOG_MAIL says by whom: one that cannot be read ends it, and an empty one is none."""
import sys
import tempfile

from test_service_manager import start


def main():
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        program = start(folder, ORDERLOG_MAIL_FILE=f"{folder}/nowhere")
        _, said = program.communicate(timeout=120)
        if program.returncode != 2 or "ORDERLOG_MAIL_FILE: cannot open" not in said:
            wrong.append(f"a file that is not there: {program.returncode}, {said}")
        program = start(folder, ORDERLOG_MAIL="")
        said = ""
        while "process.started" not in said and (line := program.stderr.readline()):
            said += line
        program.terminate()
        if program.wait(120) != 0 or "process.started" not in said:
            wrong.append(f"an empty one: {program.returncode}, {said}")
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
