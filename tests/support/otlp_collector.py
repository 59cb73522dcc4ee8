"""An OpenTelemetry collector for tests: otlp_collector.py PORT FOLDER [--fail N]. Takes traces over HTTP, in protobuf, as
strictly as opentelemetry-proto lets it: what it would write otherwise, or does not know, is an error. Each span is a line
of FOLDER/spans; an error is a line of FOLDER/errors. The first N requests are answered 503, to be tried again at once."""
import argparse
import gzip
import http.server
import json
import os
import threading

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

LOCK = threading.Lock()


def value_of(value):
    kind = value.WhichOneof("value")
    assert kind in ("string_value", "int_value"), f"a value of kind {kind}"
    return getattr(value, kind)


def attributes_of(owner):
    found = {pair.key: value_of(pair.value) for pair in owner.attributes}
    assert len(found) == len(owner.attributes), f"a key comes twice: {list(found)}"
    return found


def spans_of(body):
    request = trace_service_pb2.ExportTraceServiceRequest()
    assert request.ParseFromString(body) == len(body), "bytes are left over"
    # Unknown fields, another order, longer numbers than need be: all would show here.
    request.DiscardUnknownFields()
    assert request.SerializeToString(deterministic=True) == body, "these bytes would be written otherwise"
    for of_resource in request.resource_spans:
        resource = attributes_of(of_resource.resource)
        for of_scope in of_resource.scope_spans:
            assert of_scope.scope.name == "orderlog" and of_scope.spans, "an odd scope"
            for span in of_scope.spans:
                yield {"resource": resource, "trace": span.trace_id.hex(), "id": span.span_id.hex(),
                       "parent": span.parent_span_id.hex(), "name": span.name, "start": span.start_time_unix_nano,
                       "end": span.end_time_unix_nano, "kind": trace_pb2.Span.SpanKind.Name(span.kind)[10:],
                       "flags": span.flags, "failed": span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                       "attributes": attributes_of(span)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def take(self):
        assert self.path == "/v1/traces", f"path {self.path}"
        assert self.headers["Content-Type"] == "application/x-protobuf", f"type {self.headers['Content-Type']}"
        assert self.headers["Content-Encoding"] == "gzip", f"encoding {self.headers['Content-Encoding']}"
        assert self.headers["X-Key"] == "a secret, = key", f"key {self.headers['X-Key']}"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        return list(spans_of(gzip.decompress(body)))

    def do_POST(self):
        status = 200
        with LOCK:
            try:
                spans = self.take()
                if self.server.fail > 0:
                    self.server.fail -= 1
                    status = 503
                else:
                    self.note("spans", spans)
            except Exception as error:  # pylint: disable=broad-except; whatever it is, the test is to see it
                self.note("errors", [repr(error)])
                status = 400
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def note(self, name, values):
        with open(os.path.join(self.server.folder, name), "a", encoding="utf-8") as file:
            file.write("".join(json.dumps(value) + "\n" for value in values))

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("folder")
    parser.add_argument("--fail", type=int, default=0)
    args = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.daemon_threads = True
    server.fail, server.folder = args.fail, args.folder
    os.makedirs(args.folder, exist_ok=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
