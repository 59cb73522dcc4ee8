"""A stand-in for AWS Lambda's Runtime API and for what drives it, by https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html:
one invocation at a time, each answered once under its own id; an error before the first `next` is the init's."""
import http.server
import json
import queue
import re
import subprocess
import sys
import threading
import time
import uuid

PREFIX = "/2018-06-01/runtime/"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        api = self.server
        if self.path != PREFIX + "invocation/next" or api.open_id:
            self.reply(403, b'{"errorMessage":"State transition is not allowed","errorType":"InvalidStateTransition"}')
            return
        api.ready.set()
        event, deadline_ms = api.waiting.get()
        if event is None:
            self.close_connection = True
            return
        api.open_id = str(uuid.uuid4())
        self.reply(200, event, [("Lambda-Runtime-Aws-Request-Id", api.open_id),
                                ("Lambda-Runtime-Deadline-Ms", str(deadline_ms)),
                                ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1"),
                                ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:orderlog-notifier")])

    def do_POST(self):
        api = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == PREFIX + "init/error":
            api.answers.put(("init/error", json.loads(body), self.headers["Lambda-Runtime-Function-Error-Type"]))
            self.reply(202, b'{"status":"OK"}')
            return
        found = re.fullmatch(re.escape(PREFIX) + "invocation/([^/]+)/(response|error)", self.path)
        if not found or found[1] != api.open_id:
            self.reply(400, b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}')
            api.answers.put(("refused", self.path, None))
            return
        api.open_id = None
        api.answers.put((found[2], json.loads(body), self.headers["Lambda-Runtime-Function-Error-Type"]))
        self.reply(202, b'{"status":"OK"}')


class Server(http.server.ThreadingHTTPServer):
    """Of one process of the function, so that what another one still says reaches nobody."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.waiting, self.answers, self.ready = queue.Queue(), queue.Queue(), threading.Event()
        self.open_id = None
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # the function is killed while it waits
            super().handle_error(request, client_address)


class RuntimeApi:
    """with RuntimeApi() as api: api.start(program, environment, log); api.invoke(event) -> (kind, body, error type)."""
    program = server = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def start(self, program, environment, log):
        self.server = Server()
        address = f"127.0.0.1:{self.server.server_port}"
        self.program = subprocess.Popen(program, env={**environment, "AWS_LAMBDA_RUNTIME_API": address}, stdout=log, stderr=log)

    def await_ready(self):
        while not self.server.ready.wait(0.05):
            if self.program.poll() is not None:
                raise AssertionError(f"the function ended with status {self.program.returncode}")

    def invoke(self, event, seconds=120):
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.await_ready()
        self.server.waiting.put((body, int(time.time() * 1000) + int(seconds * 1000)))
        return self.next_answer()

    def next_answer(self):
        while True:
            try:
                return self.server.answers.get(timeout=0.2)
            except queue.Empty:
                if self.program.poll() is not None and self.server.answers.empty():
                    raise AssertionError(f"the function ended with status {self.program.returncode}") from None

    def end(self):
        """As Lambda does, without a word."""
        if self.program:
            self.program.kill()
            self.program.wait()
            self.server.waiting.put((None, 0))  # to the call of `next` that may be waiting
            self.server.shutdown()
            self.server.server_close()
            self.program = self.server = None
