"""Stand-ins for what hands out AWS credentials, over real HTTP: EC2's instance metadata (version 2), a container's
endpoint, and STS's AssumeRoleWithWebIdentity. They refuse what the real ones refuse; tests change their attributes."""
import datetime
import http.server
import json
import re
import threading
import urllib.parse

METADATA_ROLES = "/latest/meta-data/iam/security-credentials/"
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}")


class StandIn(http.server.ThreadingHTTPServer):
    """Serves on a free port of 127.0.0.1 until the `with` block ends."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.Lock()
        self.served = 0            # credentials so far; each has its number in its id
        self.calls = []            # (method, path)
        self.life_s = 3600
        self.role = "shop-role"    # None: the instance has none
        self.metadata_tokens = set()
        self.authorization = None  # what a container must say
        self.jwt = "eyJhbGciOi.eyJpc3Mi.c2lnbmF0dXJl"
        self.fail = []             # statuses to answer the next calls with
        self.answer = None         # a body to answer instead of credentials

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def next(self, prefix):
        with self.lock:
            self.served += 1
            until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.life_s)
            return {"AccessKeyId": f"{prefix}{self.served}", "SecretAccessKey": f"secret/{self.served}+=", "Token": f"token/{self.served}==",
                    "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ")}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body="", kind="text/plain"):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def went_wrong(self):
        """Answers with the next failure that a test has ordered."""
        with self.server.lock:
            self.server.calls.append((self.command, self.path))
            status = self.server.fail.pop(0) if self.server.fail else 0
        if status:
            self.reply(status, "out of order")
        return bool(status)

    def do_PUT(self):
        life = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.went_wrong():
            return
        if self.path != "/latest/api/token":
            self.reply(404)
        elif "X-Forwarded-For" in self.headers:
            self.reply(403)
        elif not life.isdigit() or not 1 <= int(life) <= 21600:
            self.reply(400)
        else:
            token = f"AQAEAtoken{len(self.server.metadata_tokens)}=="
            self.server.metadata_tokens.add(token)
            self.reply(200, token)

    def do_GET(self):
        if self.went_wrong():
            return
        if self.path.startswith("/latest/"):
            self.metadata()
        elif self.path.startswith("/v1/credentials"):
            self.container()
        else:
            self.reply(404)

    def metadata(self):
        role = self.server.role
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.metadata_tokens:
            self.reply(401)
        elif self.path == METADATA_ROLES and role:
            self.reply(200, role)
        elif role and self.path == METADATA_ROLES + urllib.parse.quote(role):
            self.reply(200, self.server.answer or json.dumps({"Code": "Success", "Type": "AWS-HMAC", **self.server.next("ASIAMETADATA")}))
        else:
            self.reply(404)

    def container(self):
        if self.server.authorization and self.headers.get("Authorization") != self.server.authorization:
            self.reply(401, json.dumps({"code": "InvalidToken"}), "application/json")
        else:
            name = self.path.removeprefix("/v1/credentials").strip("/").upper() or "CONTAINER"
            self.reply(200, self.server.answer or json.dumps({"RoleArn": "arn", **self.server.next("ASIA" + name)}), "application/json")

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.went_wrong():
            return
        if not self.headers["Content-Type"].startswith("application/x-www-form-urlencoded"):
            self.refuse(400, "InvalidAction", "not a form")
            return
        form = dict(urllib.parse.parse_qsl(text, strict_parsing=True))
        if form.get("Action") != "AssumeRoleWithWebIdentity" or form.get("Version") != "2011-06-15":
            self.refuse(400, "InvalidAction", "Could not find operation")
        elif not ROLE_ARN.fullmatch(form.get("RoleArn", "")) or not SESSION_NAME.fullmatch(form.get("RoleSessionName", "")):
            self.refuse(400, "ValidationError", f"1 validation error detected: Value '{form.get('RoleArn')}' at 'roleArn' failed")
        elif form.get("WebIdentityToken") != self.server.jwt:
            self.refuse(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider")
        else:
            self.credentials(self.server.next("ASIASTS"))

    def refuse(self, status, code, message):
        self.reply(status, f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>",
                   "text/xml")

    def credentials(self, made):
        fields = "".join(f"<{to}>{made[name]}</{to}>" for name, to in
                         (("AccessKeyId", "AccessKeyId"), ("SecretAccessKey", "SecretAccessKey"), ("Token", "SessionToken"),
                          ("Expiration", "Expiration")))
        self.reply(200, '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>'
                        f"<Credentials>{fields}</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>", "text/xml")


def main():
    """aws_stand_in.py LIFE_SECONDS: prints its URL, and serves until it is stopped."""
    import sys
    stand_in = StandIn()
    stand_in.life_s = int(sys.argv[1])
    print(stand_in.url, flush=True)
    stand_in.serve_forever()


if __name__ == "__main__":
    main()
