#!/usr/bin/env python3
"""systemd is told when the program runs, that it is alive, and that it ends (sd_notify), and nothing where it did not ask;
the program runs before PostgreSQL answers, so this needs none."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

ORDERLOG = os.environ.get("ORDERLOG_BIN", "build/orderlog")


def start(folder, **more):
    settings = {"ORDERLOG_LOG": f"sqlite://{folder}/log.db", "DATABASE_URL": f"postgresql:///none?host={folder}",
                "REDIS_URL": f"unix://{folder}/none", "ORDERLOG_PROVIDER": "instant", "ORDERLOG_LISTEN": "127.0.0.1:0",
                **{f"ORDERLOG_{name}_SECRET": "x" * 32 for name in ("SESSION", "ID", "PERSONAL")}}
    return subprocess.Popen([ORDERLOG, "up"], env={**os.environ, **settings, **more}, stderr=subprocess.PIPE, text=True)


def told(heard, folder, name, address):
    heard.settimeout(60)
    program = start(folder, NOTIFY_SOCKET=name, WATCHDOG_USEC="200000")
    try:
        said = [heard.recv(100).decode() for _ in range(3)]
        if said != ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]:
            yield f"{address}: said {said}"
        program.send_signal(signal.SIGTERM)
        while said[-1] == "WATCHDOG=1":
            said.append(heard.recv(100).decode())
        if said[-1] != "STOPPING=1":
            yield f"{address}: at its end it said {said[-1]}"
        if program.wait(60) != 0:
            yield f"{address}: it ended with {program.returncode}: {program.stderr.read()}"
    finally:
        program.kill()
        program.wait()


def main():
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for address in (f"{folder}/notify", f"\0orderlog-test-{os.getpid()}"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
                heard.bind(address)
                wrong += told(heard, pathlib.Path(folder), address.replace("\0", "@"), address.replace("\0", "@"))
        # Somebody else's watchdog, and nobody to tell.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
            heard.bind(f"{folder}/other")
            heard.settimeout(60)
            program = start(folder, NOTIFY_SOCKET=f"{folder}/other", WATCHDOG_USEC="1000", WATCHDOG_PID="1")
            said = [heard.recv(100).decode()]
            program.terminate()
            said.append(heard.recv(100).decode())
            if program.wait(60) != 0 or said != ["READY=1", "STOPPING=1"]:
                wrong.append(f"with another's watchdog it said {said}")
        program = start(folder, NOTIFY_SOCKET=f"{folder}/nobody")
        while '"process.started"' not in (line := program.stderr.readline()) and "process.started" not in line and line:
            pass
        program.terminate()
        if program.wait(60) != 0:
            wrong.append("with nobody to tell it does not end well")
    print("\n".join(wrong))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
