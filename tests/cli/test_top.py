#!/usr/bin/env python3
"""orderlog top: what it makes of two scrapes, and how it treats a terminal. The scrapes are served here, so that rates
and quantiles are known; tests/flow/test_operators.sh looks at a real stack."""
import fcntl
import http.server
import json
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unittest

ORDERLOG = os.environ["ORDERLOG_BIN"]
PATIENCE_S = 60


def histogram(name, labels, counts):
    """Cumulative counts by bound."""
    return "".join(f'{name}_bucket{{{labels}le="{bound}"}} {count}\n' for bound, count in counts.items())


class Process(http.server.ThreadingHTTPServer):
    """Answers each scrape with the next of its texts, then the last of them for ever."""
    daemon_threads = True

    def __init__(self, *texts, status=200):
        super().__init__(("127.0.0.1", 0), Answer)
        self.texts, self.status, self.asked = list(texts), status, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        body = server.texts[min(server.asked, len(server.texts) - 1)].encode()
        server.asked += 1
        self.send_response(server.status if self.path == "/metrics" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


BEFORE = ('orderlog_build_info{version="9.9"} 1\nprocess_cpu_seconds_total 10\nprocess_resident_memory_bytes 1048576\n'
          'orderlog_http_requests_total{method="GET",route="/v1/carts",status="200"} 100\n'
          'orderlog_http_requests_total{method="GET",route="/v1/carts",status="503"} 5\n'
          'orderlog_decider_records_total{service="orders"} 1000\norderlog_decider_records_out_total{service="orders"} 7\n'
          'orderlog_projector_records_total{service="redis-view-orders"} 5\n'
          'orderlog_lag_records{service="orders",topic="t",partition="0"} 3\n'
          'orderlog_shard_halted{service="orders",shard="0"} 0\norderlog_shard_halted{service="orders",shard="1"} 1\n'
          'orderlog_http_shed_total{reason="lag"} 5\norderlog_http_shed_total{reason="rate"} 0\n'
          'orderlog_store_up{store="redis"} 0\n# HELP odd A comment {with="braces"} 1\n'
          + histogram("orderlog_stage_seconds", 'service="orders",', {"0.1": 10, "1": 10, "+Inf": 10}))
AFTER = (BEFORE.replace("_total 10\n", "_total 10.5\n").replace('status="200"} 100', 'status="200"} 300')
         .replace('status="503"} 5', 'status="503"} 25').replace('"orders"} 1000', '"orders"} 40')
         .replace('"lag"} 5', '"lag"} 15').replace('"rate"} 0', '"rate"} 10')
         .replace('"orders"} 7', '"orders"} 57')
         .replace(histogram("orderlog_stage_seconds", 'service="orders",', {"0.1": 10, "1": 10, "+Inf": 10}),
                  histogram("orderlog_stage_seconds", 'service="orders",', {"0.1": 60, "1": 109, "+Inf": 110})))


def top(*arguments, **environment):
    return subprocess.run([ORDERLOG, "top", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, env={**os.environ, **environment}, timeout=PATIENCE_S)


def frame_of(*processes, status=0):
    done = top("--once", "--output", "json", *(word for p in processes for word in ("--url", p.url)))
    assert done.returncode == status, done
    return json.loads(done.stdout)


class Numbers(unittest.TestCase):
    def process(self, *texts, **how):
        process = Process(*texts, **how)
        self.addCleanup(process.close)
        return process

    def test_rates_and_quantiles_are_of_the_time_between(self):
        frame = frame_of(self.process(BEFORE, AFTER))
        seconds = frame["seconds"]
        self.assertTrue(0.5 < seconds < PATIENCE_S)
        self.assertAlmostEqual(frame["api"]["requests_per_s"] * seconds, 220, delta=0.01)
        self.assertAlmostEqual(frame["api"]["shed_per_s"] * seconds, 20, delta=0.01)
        self.assertIsNone(frame["api"]["waiters"])
        orders, = frame["services"]
        self.assertAlmostEqual(orders["in_per_s"] * seconds, 40, delta=0.01)  # it has begun anew
        self.assertAlmostEqual(orders["out_per_s"] * seconds, 50, delta=0.01)
        self.assertAlmostEqual(orders["stage_p50_s"], 0.1)  # 50 of the 100 new ones are below
        self.assertTrue(math.isclose(orders["stage_p99_s"], 1, rel_tol=1e-6), orders)
        self.assertEqual((orders["lag_records"], orders["halted_shards"], orders["lag_seconds"]), (3, 1, None))
        view, = frame["views"]
        self.assertEqual((view["name"], view["in_per_s"], view["stage_p99_s"]), ("redis-view-orders", 0, None))
        self.assertEqual((frame["stores"]["redis_up"], frame["stores"]["postgres_up"]), (0, None))
        process, = frame["processes"]
        self.assertEqual((process["version"], process["memory_bytes"]), ("9.9", 1048576))
        self.assertAlmostEqual(process["cpu_cores"] * seconds, 0.5, delta=0.01)

    def test_several_processes_are_added_up_but_the_same_thing_counts_once(self):
        other = AFTER.replace('partition="0"} 3', 'partition="0"} 4')
        first, second = self.process(BEFORE, AFTER), self.process(BEFORE, other)
        frame = frame_of(first, second)
        orders, = frame["services"]
        self.assertEqual(orders["lag_records"], 4)
        self.assertEqual(orders["halted_shards"], 1)
        self.assertAlmostEqual(frame["api"]["requests_per_s"] * frame["seconds"], 440, delta=5)
        self.assertEqual([p["answers"] for p in frame["processes"]], [True, True])

    def test_a_shard_is_to_be_run_by_one_process(self):
        def running(*by_shard):
            return "".join(f'orderlog_shard_running{{service="orders",shard="{i}"}} {runs}\n'
                           for i, runs in enumerate(by_shard))
        texts = ['orderlog_decider_records_total{service="orders"} 1\n' + running(*shards)
                 for shards in ((1, 0, 0), (0, 1, 0))]
        frame = frame_of(*(self.process(text) for text in texts))
        orders, = frame["services"]
        self.assertEqual((orders["shards"], orders["running_shards"], orders["halted_shards"]), (3, 2, None))
        done = top("--once", *(word for text in texts for word in ("--url", self.process(text).url)))
        self.assertRegex(done.stdout, r"\norders .* 1\n")

    def test_parked_subjects_of_a_view_are_added_up_those_of_a_decider_are_not(self):
        text = ('orderlog_decider_records_total{service="orders"} 1\norderlog_parked_subjects{service="orders"} 2\n'
                'orderlog_projector_records_total{service="a-view-b"} 1\norderlog_parked_subjects{service="a-view-b"} 2\n')
        frame = frame_of(self.process(text), self.process(text))
        self.assertEqual((frame["services"][0]["parked_subjects"], frame["views"][0]["parked_subjects"]), (2, 4))

    def test_a_service_that_does_not_answer_is_listed_when_others_tell_of_it(self):
        gone = Process("")
        gone.close()
        frame = frame_of(self.process('orderlog_lag_records{service="payments",topic="t",partition="0"} 9\n'
                                      'orderlog_lag_records{service="redis-view-orders",topic="t",partition="0"} 8\n'),
                         gone, status=1)
        self.assertEqual([(s["name"], s["lag_records"], s["in_per_s"]) for s in frame["services"] + frame["views"]],
                         [("payments", 9, None), ("redis-view-orders", 8, None)])

    def test_a_store_that_one_of_them_does_not_reach_is_told(self):
        up = [self.process(f'orderlog_store_up{{store="redis"}} {i}\n') for i in (0, 1, 1)]
        self.assertEqual(frame_of(*up)["stores"]["redis_up"], 0)
        done = top("--once", *(word for process in up for word in ("--url", process.url)))
        self.assertIn("Redis ok (to 2 of 3)", done.stdout)

    def test_processes_are_found_by_the_files_that_say_where_they_listen(self):
        here, gone = self.process(BEFORE, AFTER), Process("")
        gone.close()
        with tempfile.TemporaryDirectory() as run:
            for name, process in (("consume-orders", here), ("api", gone)):
                with open(f"{run}/{name}.listen", "w", encoding="ascii") as file:
                    file.write(process.url.removeprefix("http://") + "\n")
            with open(f"{run}/api.pid", "w", encoding="ascii") as file:
                file.write("1\n")
            for how in ({"ORDERLOG_RUN": run}, None):
                done = top("--once", "--output", "json", *([] if how else ["--run", run]), **(how or {}))
                self.assertEqual(done.returncode, 1, done)
                self.assertEqual([(p["name"], p["answers"]) for p in json.loads(done.stdout)["processes"]],
                                 [("api", False), ("consume-orders", True)])

    def test_processes_are_listed_by_a_setting(self):
        one, other = self.process(BEFORE, AFTER), self.process(BEFORE, AFTER)
        done = top("--once", "--output", "json", ORDERLOG_PROCESSES=f"api={one.url}, {other.url}", ORDERLOG_RUN="/tmp")
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual([p["name"] for p in json.loads(done.stdout)["processes"]], ["api", None])

    def test_who_is_away_is_shown_as_away(self):
        here, gone, ill, odd = (self.process(BEFORE, AFTER), Process(""), self.process("no", status=500),
                                self.process("{}\n"))
        gone.close()
        frame = frame_of(here, gone, ill, odd, status=1)
        self.assertEqual([p["answers"] for p in frame["processes"]], [True, False, False, False])
        self.assertTrue(all(p["why"] for p in frame["processes"][1:]))
        self.assertEqual(frame["services"][0]["name"], "orders")

    def test_a_pipe_gets_one_plain_table(self):
        process = self.process(BEFORE, AFTER)
        done = top(ORDERLOG_API=process.url)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotIn("\033", done.stdout)
        self.assertRegex(done.stdout, r"\norders +\d+ +\d+ +3 +- +100 ms +1\.0 s +- +- +1\n")
        self.assertIn("Redis away", done.stdout)
        self.assertEqual(process.asked, 2)

    def test_texts_of_others_do_no_harm(self):
        text = 'orderlog_decider_records_total{service="a\\"}\033[31m,b"} 1\n'
        done = top("--once", "--url", self.process(text, text).url + "/")
        self.assertEqual(done.returncode, 0)
        self.assertNotIn("\033", done.stdout)

    def test_wrong_usage(self):
        for words in (["--interval", "0"], ["--interval", "x"], ["--output", "xml"], ["here"], ["--url"]):
            self.assertEqual(top(*words).returncode, 2, words)


class Screen:
    """top on a terminal of its own."""

    def __init__(self, *arguments, rows=40, columns=120, **environment):
        self.master, self.tty = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.tty)
        self.output = b""
        self.process = subprocess.Popen(
            [ORDERLOG, "top", *arguments], stdin=self.tty, stdout=self.tty, stderr=self.tty, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment})

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        self.output += os.read(self.master, 65536)
        return True

    def await_text(self, pattern):
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.output, re.S):
            assert time.monotonic() < deadline, (pattern, self.output)
            self.read(1)

    def await_end(self):
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.output
            self.read(0.1)
        while self.read(0):
            pass
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.tty)


ENTER, LEAVE = rb"\x1b\[\?1049h", rb"\x1b\[\?25h\x1b\[\?1049l$"


class Coming(unittest.TestCase):
    def test_a_process_that_starts_later_is_seen(self):
        first, second = Process(BEFORE, AFTER), Process(BEFORE, AFTER)
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        with tempfile.TemporaryDirectory() as run:
            def listens(name, process):
                with open(f"{run}/{name}.new", "w", encoding="ascii") as file:
                    file.write(process.url.removeprefix("http://"))
                os.rename(f"{run}/{name}.new", f"{run}/{name}.listen")
            listens("consume-orders", first)
            screen = Screen("--run", run, "--interval", "0.1")
            self.addCleanup(screen.close)
            screen.await_text(rb"consume-orders +\d")
            listens("project-redis", second)
            screen.await_text(rb"project-redis +\d")
            os.unlink(f"{run}/project-redis.listen")
            screen.output = b""
            screen.await_text(rb"PROCESS(?!.*project-redis).*\x1b\[J")
            os.write(screen.master, b"q")
            self.assertEqual(screen.await_end(), 0)


class Terminals(unittest.TestCase):
    def setUp(self):
        self.served = Process(BEFORE, AFTER)
        self.addCleanup(self.served.close)

    def screen(self, *arguments, **how):
        screen = Screen("--url", self.served.url, *arguments, **how)
        self.addCleanup(screen.close)
        screen.await_text(ENTER + rb".*orders +\d")
        return screen

    def check_left(self, screen):
        self.assertEqual(screen.await_end(), 0)
        self.assertRegex(screen.output, LEAVE)
        self.assertEqual(termios.tcgetattr(screen.tty), screen.before)

    def test_q_ends_it_and_the_terminal_is_as_it_was(self):
        screen = self.screen()
        self.assertNotEqual(termios.tcgetattr(screen.tty), screen.before)
        self.assertIn(b"\033[1m", screen.output)
        os.write(screen.master, b"xq")
        self.check_left(screen)

    def test_signals_end_it_and_the_terminal_is_as_it_was(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            screen = self.screen()
            screen.process.send_signal(number)
            self.check_left(screen)

    def test_a_key_is_seen_while_a_process_keeps_it_waiting(self):
        silent = Process(BEFORE)
        silent.shutdown()  # it still listens, and does not answer
        self.addCleanup(silent.server_close)
        screen = Screen("--url", silent.url)
        self.addCleanup(screen.close)
        screen.await_text(ENTER)
        os.write(screen.master, b"q")
        self.check_left(screen)

    def test_it_follows_the_window(self):
        screen = self.screen("--interval", "3600")
        self.served.texts.append("")  # what is drawn anew is what was known
        screen.await_text(rb"9\.9")
        screen.output = b""
        screen.resize(8, 30)
        screen.process.send_signal(signal.SIGWINCH)
        screen.await_text(rb"more lines.*\x1b\[J")
        frame = screen.output[screen.output.rindex(b"\x1b[H"):].decode()
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).replace("\r", "").split("\n")
        self.assertEqual(len(lines), 8)
        self.assertTrue(all(len(line) <= 30 for line in lines), lines)
        screen.process.terminate()
        self.check_left(screen)

    def test_no_colours_when_they_are_not_wanted(self):
        screen = self.screen(NO_COLOR="1")
        self.assertNotIn(b"m", re.findall(rb"\x1b\[[0-9;?]*([A-Za-z])", screen.output))
        os.write(screen.master, b"q")
        self.check_left(screen)

    def test_a_process_that_goes_away_is_shown_so(self):
        screen = self.screen("--interval", "0.1")
        self.served.close()
        screen.await_text(rb"away: ")
        os.write(screen.master, b"q")
        self.check_left(screen)


if __name__ == "__main__":
    unittest.main()
