#!/usr/bin/env python3
"""Where credentials come from, in which order, how they are kept and fetched again, and what is said when there are none."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/support"))
from aws_stand_in import StandIn  # noqa: E402

PROBE = pathlib.Path(os.environ["ORDERLOG_BUILD"]) / "tests/aws_probe"
ROLE = "arn:aws:iam::123456789012:role/shop"
DEADLINE_S = 60


class Probe:
    """aws_probe in an environment of its own."""

    def __init__(self, **settings):
        keep = {name: value for name, value in os.environ.items() if name.startswith(("ASAN", "UBSAN", "TSAN", "PATH"))}
        self.process = subprocess.Popen([PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**keep, "AWS_EC2_METADATA_DISABLED": "true", **{k: str(v) for k, v in settings.items()}})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def ask(self, command="get"):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def refused_url():
    """An address of this machine where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}"


class Case(unittest.TestCase):
    def setUp(self):
        self.stand_in = self.enterContext(StandIn())
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name

    def probe(self, **settings):
        return self.enterContext(Probe(HOME=self.folder, **settings))

    def get(self, **settings):
        return self.probe(**settings).ask()

    def wait_for(self, what):
        end = time.monotonic() + DEADLINE_S
        while not what():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)


class Environment(Case):
    def test_keys(self):
        got = self.get(AWS_ACCESS_KEY_ID="AKIA1", AWS_SECRET_ACCESS_KEY="s", AWS_SESSION_TOKEN="t")
        self.assertEqual(got, {"id": "AKIA1", "secret": "s", "token": "t", "source": "environment", "expires_us": 0})
        self.assertIsNone(self.get(AWS_ACCESS_KEY_ID="AKIA1", AWS_SECRET_ACCESS_KEY="s", AWS_SESSION_TOKEN="")["token"])

    def test_half_of_them(self):
        self.assertIn("environment: AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY", self.get(AWS_ACCESS_KEY_ID="AKIA1")["error"])

    def test_it_comes_before_all_others(self):
        got = self.get(AWS_ACCESS_KEY_ID="AKIA1", AWS_SECRET_ACCESS_KEY="s", AWS_WEB_IDENTITY_TOKEN_FILE="/none", AWS_ROLE_ARN=ROLE,
                       AWS_PROFILE="none", AWS_CONTAINER_CREDENTIALS_FULL_URI=self.stand_in.url)
        self.assertEqual(got["source"], "environment")
        self.assertEqual(self.stand_in.calls, [])


class WebIdentity(Case):
    def settings(self, **more):
        return {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": self.write("token", self.stand_in.jwt + "\n"),
                "AWS_ENDPOINT_URL_STS": self.stand_in.url, **more}

    def test_a_role_for_a_token(self):
        got = self.get(**self.settings())
        self.assertEqual((got["id"], got["secret"], got["token"], got["source"]), ("ASIASTS1", "secret/1+=", "token/1==", "web identity"))
        self.assertAlmostEqual(got["expires_us"] / 1e6, time.time() + self.stand_in.life_s, delta=120)

    def test_refusals_name_the_reason_and_nobody_else_is_asked(self):
        settings = self.settings(AWS_CONTAINER_CREDENTIALS_FULL_URI=self.stand_in.url + "/v1/credentials")
        self.write("token", "another.web.token")
        self.assertIn("web identity: STS refused with 400 InvalidIdentityToken: Couldn't", self.get(**settings)["error"])
        self.assertIn("STS refused with 400 ValidationError", self.get(**{**settings, "AWS_ROLE_ARN": "shop"})["error"])
        self.assertNotIn("GET", [method for method, _ in self.stand_in.calls])

    def test_what_is_missing(self):
        settings = self.settings()
        self.assertIn("without AWS_ROLE_ARN", self.get(**{**settings, "AWS_ROLE_ARN": ""})["error"])
        self.write("token", "")
        self.assertIn("token is empty", self.get(**settings)["error"])
        (self.folder / "token").unlink()
        self.assertIn("token: No such file", self.get(**settings)["error"])
        self.assertEqual(self.stand_in.calls, [])

    def test_a_short_failure_is_tried_again(self):
        self.stand_in.fail = [503, 500]
        self.assertEqual(self.get(**self.settings())["id"], "ASIASTS1")
        self.stand_in.fail = [503] * 9
        self.assertIn("STS refused with 503", self.get(**self.settings())["error"])

    def test_nobody_there(self):
        got = self.get(**self.settings(AWS_ENDPOINT_URL_STS=refused_url()))
        self.assertRegex(got["error"], "environment: AWS_ACCESS_KEY_ID is not set; web identity: http://127.*(refused|connect)")

    def test_moto(self):
        """An STS that others wrote."""
        python = ROOT / "var/venv/bin/python"
        if subprocess.run([python, "-c", "import moto.server, flask_cors"], check=False, stderr=subprocess.DEVNULL).returncode:
            self.assertFalse(os.environ.get("CI"), "moto is missing (tests/run makes var/venv)")
            self.skipTest("moto is missing (tests/run makes var/venv)")
        with open(self.folder / "moto.log", "w", encoding="utf-8") as log:
            moto = subprocess.Popen([python, "-m", "moto.server", "-p", "0"], stdout=log, stderr=log)
        try:
            said = lambda: (self.folder / "moto.log").read_text().partition("Running on ")[2].split()
            self.wait_for(lambda: moto.poll() is not None or said())
            self.assertIsNone(moto.poll(), (self.folder / "moto.log").read_text())
            got = self.get(**self.settings(AWS_ENDPOINT_URL_STS=said()[0]))
            self.assertEqual(got.get("source"), "web identity", got)
            self.assertTrue(got["id"].startswith("ASIA") and len(got["token"]) > 100)
        finally:
            moto.terminate()
            moto.wait(DEADLINE_S)


class Profiles(Case):
    def test_the_default_one_in_the_home(self):
        (self.folder / ".aws").mkdir()
        self.write(".aws/credentials", "[other]\naws_access_key_id = no\n[default]\naws_access_key_id=AKIA2\naws_secret_access_key = a=b+c\n")
        self.write(".aws/config", "[default]\nregion = eu-north-1\ns3 =\n  region = nested\n")
        probe = self.probe()
        self.assertEqual(probe.ask(), {"id": "AKIA2", "secret": "a=b+c", "token": None, "source": "profile", "expires_us": 0})
        self.assertEqual(probe.ask("region"), {"region": "eu-north-1"})

    def test_a_named_one(self):
        credentials = self.write("c", "# keys\n[dev]\naws_access_key_id = A\n; more\naws_secret_access_key = B\naws_session_token = C\n")
        config = self.write("f", "[dev]\naws_access_key_id = wrong\n[profile dev]\nregion = us-west-2\naws_access_key_id = older\n")
        named = {"AWS_SHARED_CREDENTIALS_FILE": credentials, "AWS_CONFIG_FILE": config}
        got = self.get(AWS_PROFILE="dev", **named)
        self.assertEqual((got["id"], got["secret"], got["token"]), ("A", "B", "C"))
        self.assertEqual(self.probe(AWS_PROFILE="dev", **named).ask("region")["region"], "us-west-2")
        self.assertEqual(self.probe(AWS_PROFILE="dev", AWS_REGION="eu-west-1", **named).ask("region")["region"], "eu-west-1")
        self.assertIn('profile: there is no profile "none" in ', self.get(AWS_PROFILE="none", **named)["error"])

    def test_the_config_file_alone(self):
        config = self.write("f", "[profile dev]\r\naws_access_key_id = A\r\naws_secret_access_key = B\r\n")
        self.assertEqual(self.get(AWS_PROFILE="dev", AWS_CONFIG_FILE=config)["secret"], "B")

    def test_a_role_for_a_token(self):
        config = self.write("f", f"[profile pod]\nrole_arn={ROLE}\nweb_identity_token_file={self.write('token', self.stand_in.jwt)}\n"
                                 "role_session_name=shop\n")
        got = self.get(AWS_PROFILE="pod", AWS_CONFIG_FILE=config, AWS_ENDPOINT_URL_STS=self.stand_in.url)
        self.assertEqual((got["id"], got["source"]), ("ASIASTS1", "profile"))

    def test_what_is_not_supported_is_said(self):
        config = self.write("f", "[profile dev]\nrole_arn=x\nsource_profile=base\n[profile sso]\nsso_session=x\n[profile half]\naws_access_key_id=A\n")
        for profile, why in ("dev", "source_profile, which is not supported"), ("sso", "sso_session, which is not"), ("half", "no aws_secret_access_key"):
            self.assertIn(why, self.get(AWS_PROFILE=profile, AWS_CONFIG_FILE=config)["error"])


class Container(Case):
    def settings(self, **more):
        self.stand_in.authorization = "Bearer pod token"
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.stand_in.url + "/v1/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": self.write("pod", "Bearer pod token\n"), **more}

    def test_its_endpoint(self):
        got = self.get(**self.settings())
        self.assertEqual((got["id"], got["source"]), ("ASIACONTAINER1", "container"))

    def test_the_token_is_read_each_time(self):
        self.stand_in.life_s = 2
        probe = self.probe(**self.settings())
        self.assertEqual(probe.ask()["id"], "ASIACONTAINER1")
        self.stand_in.authorization = "Bearer another"
        self.write("pod", "Bearer another")
        self.wait_for(lambda: probe.ask()["id"] == "ASIACONTAINER2")

    def test_refusals(self):
        settings = self.settings()
        self.write("pod", "Bearer wrong")
        self.assertIn("/v1/credentials answered 401", self.get(**settings)["error"])
        self.write("pod", "Bearer x\nX-Evil: 1")
        self.assertIn("more than one line", self.get(**settings)["error"])
        self.write("pod", "Bearer pod token")
        for answer, why in ("no", "not JSON"), ("{}", "no AccessKeyId"), ('{"AccessKeyId":"A","SecretAccessKey":"B","Expiration":"soon"}', "no time"), \
                ('{"AccessKeyId":"A","SecretAccessKey":"B","Token":"C","Expiration":"2020-01-01T00:00:00Z"}', "ended at 2020-01-01"), \
                ('{"Code":"AssumeRoleUnauthorizedAccess"}', "says AssumeRoleUnauthorizedAccess"):
            self.stand_in.answer = answer
            self.assertIn(why, self.get(**settings)["error"])

    def test_other_hosts_are_not_asked_without_tls(self):
        for url in "http://example.com/x", "http://localhost@example.com/", "http://127.0.0.1.example.com/", "http://[::2]/", "ftp://localhost/":
            self.assertIn("must be https, or this machine's", self.get(**self.settings(AWS_CONTAINER_CREDENTIALS_FULL_URI=url))["error"])


class Instance(Case):
    def settings(self, **more):
        return {"AWS_EC2_METADATA_DISABLED": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.stand_in.url, **more}

    def test_version_2(self):
        self.stand_in.role = "shop role"
        got = self.get(**self.settings())
        self.assertEqual((got["id"], got["source"]), ("ASIAMETADATA1", "instance metadata"))
        self.assertEqual([method for method, _ in self.stand_in.calls], ["PUT", "GET", "GET"])

    def test_version_1_is_not_fallen_back_to(self):
        for status in 403, 404, 405:
            self.stand_in.fail = [status]
            self.assertIn(f"answered {status} to the request for a token", self.get(**self.settings())["error"])
        self.assertEqual({method for method, _ in self.stand_in.calls}, {"PUT"})

    def test_no_role(self):
        self.stand_in.role = None
        self.assertIn("the instance has no role", self.get(**self.settings())["error"])

    def test_nobody_there_names_all_that_was_tried(self):
        got = self.get(**self.settings(AWS_EC2_METADATA_SERVICE_ENDPOINT=refused_url()))
        for part in "environment: AWS_ACCESS_KEY_ID is not set", "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set", "profile: there is neither", \
                "container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "instance metadata: http://127", "not on EC2":
            self.assertIn(part, got["error"])

    def test_switched_off(self):
        self.assertIn("instance metadata: AWS_EC2_METADATA_DISABLED is true", self.get()["error"])


class Keeping(Case):
    def settings(self):
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.stand_in.url + "/v1/credentials"}

    def test_they_are_fetched_once(self):
        probe = self.probe(**self.settings())
        self.assertEqual({probe.ask()["id"] for _ in range(50)}, {"ASIACONTAINER1"})
        self.assertEqual(len(self.stand_in.calls), 1)

    def test_by_one_thread_for_all(self):
        self.assertEqual(set(self.probe(**self.settings()).ask("together 64")["ids"]), {"ASIACONTAINER1"})

    def test_before_they_end_others_are_fetched(self):
        self.stand_in.life_s = 4
        probe = self.probe(**self.settings())
        ends_us = probe.ask()["expires_us"]
        self.wait_for(lambda: self.stand_in.served > 1 or not probe.ask())
        second = probe.ask()
        self.assertEqual(second["id"], "ASIACONTAINER2")
        self.assertGreater(second["expires_us"], ends_us)

    def test_what_is_good_serves_on_while_nobody_answers(self):
        self.stand_in.life_s = 8
        probe = self.probe(**self.settings())
        ends_us = probe.ask()["expires_us"]
        self.stand_in.fail = [404] * 1000
        while True:
            got = probe.ask()
            if "error" in got:
                break
            self.assertEqual(got["id"], "ASIACONTAINER1")
            time.sleep(0.05)
        self.assertGreaterEqual(time.time() * 1e6, ends_us)
        self.assertGreater(len(self.stand_in.calls), 1)
        self.assertIn("answered 404", got["error"])
        self.stand_in.fail = []
        self.assertEqual(probe.ask()["id"], "ASIACONTAINER2")

    def test_a_token_is_signed_by_them(self):
        probe = self.probe(AWS_REGION="eu-central-1", **self.settings())
        self.assertRegex(probe.ask("token")["token"], r"^[A-Za-z0-9_-]{400,}$")


if __name__ == "__main__":
    unittest.main()
