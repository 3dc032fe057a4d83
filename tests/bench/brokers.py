"""Brokers for the outbox' benchmark, each with private ports and a folder of its own.

They are Debian's packages, as the tests start them. A webhook's receiver is a process of its own that
answers 204. There is no Kafka in Debian: it is librdkafka's mock, in a process of its own, which keeps
messages in memory.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

from processes import Failure, run_tool, wait_until

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 30
RECEIVER = """
import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *words): pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256
import sys
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    """A broker's processes. `settings` are those of a sink that publishes to it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.port = free_port()
        self.settings: dict = {}
        folder.mkdir()
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        raise NotImplementedError

    def run(self, argv: list, env: dict | None = None) -> None:
        with open(self.folder / "log", "ab") as log:
            self.processes.append(subprocess.Popen(
                [str(word) for word in argv], env={**os.environ, **(env or {})}, stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True))

    def await_ready(self, ready) -> None:
        def is_ready() -> bool:
            for process in self.processes:
                if process.poll() is not None:
                    raise Failure(f"{process.args[0]} ended: {self.folder / 'log'}")
            return ready()
        if not wait_until(is_ready, START_TIMEOUT_S):
            raise Failure(f"{type(self).__name__} did not start: {self.folder / 'log'}")

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is not None:
                continue
            for how in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(process.pid, how)
                try:
                    process.wait(STOP_TIMEOUT_S)
                    break
                except subprocess.TimeoutExpired:
                    continue


class Redis(Broker):
    def start(self) -> None:
        self.run(["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--appendonly", "yes",
                  "--appendfsync", "everysec", "--save", "", "--dir", self.folder])
        self.await_ready(lambda: answers(self.port))
        self.settings = {"type": "redis", "url": f"redis://127.0.0.1:{self.port}"}


class Nats(Broker):
    def start(self) -> None:
        self.run(["nats-server", "-js", "-sd", self.folder / "jetstream", "-a", "127.0.0.1", "-p",
                  self.port])
        self.await_ready(lambda: answers(self.port))
        self._add_stream()
        self.settings = {"type": "nats", "url": f"nats://127.0.0.1:{self.port}"}

    def _add_stream(self) -> None:
        """By the protocol: a request to JetStream's API."""
        body = '{"name":"events","subjects":["eventstore.>"],"storage":"file"}'
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(
                b'CONNECT {"verbose":false}\r\nSUB answer 1\r\nPUB $JS.API.STREAM.CREATE.events '
                + f"answer {len(body)}\r\n{body}\r\n".encode())
            said = b""
            while b'"config"' not in said:
                more = connection.recv(65536)
                if not more or b'"error"' in said:
                    raise Failure(f"NATS did not make the stream: {said!r}")
                said += more


class RabbitMq(Broker):
    def start(self) -> None:
        epmd, dist = free_port(), free_port()
        (self.folder / "plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.file.level = error\n")
        self.env = {
            "HOME": str(self.folder), "RABBITMQ_NODENAME": "eventstore-bench@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log.d"), "RABBITMQ_DIST_PORT": str(dist),
            "ERL_EPMD_PORT": str(epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} +sbwt none"}
        self.run(["epmd", "-address", "127.0.0.1", "-port", epmd])
        self.await_ready(lambda: answers(epmd))
        self.run(["/usr/lib/rabbitmq/bin/rabbitmq-server"], self.env)
        self.await_ready(lambda: answers(self.port))
        self._add_queue()
        self.settings = {"type": "rabbitmq", "url": f"amqp://127.0.0.1:{self.port}",
                         "user": "guest", "password": "guest"}

    def _add_queue(self) -> None:
        """A durable queue that gets everything, so that a confirm means a write."""
        definitions = self.folder / "definitions.json"
        definitions.write_text(json.dumps({
            "exchanges": [{"name": "eventstore", "vhost": "/", "type": "topic", "durable": True,
                           "auto_delete": False, "internal": False, "arguments": {}}],
            "queues": [{"name": "all", "vhost": "/", "durable": True, "auto_delete": False,
                        "arguments": {}}],
            "bindings": [{"source": "eventstore", "vhost": "/", "destination": "all",
                          "destination_type": "queue", "routing_key": "#", "arguments": {}}]}))
        run_tool(["/usr/lib/rabbitmq/bin/rabbitmqctl", "-n", self.env["RABBITMQ_NODENAME"],
                  "import_definitions", definitions], timeout_s=START_TIMEOUT_S,
                 env={**os.environ, **self.env})


class Webhook(Broker):
    def start(self) -> None:
        self.run([sys.executable, "-B", "-c", RECEIVER, self.port])
        self.await_ready(lambda: answers(self.port))
        self.settings = {"type": "webhook", "url": f"http://127.0.0.1:{self.port}/events"}


class Kafka(Broker):
    program: pathlib.Path  # set by who has the build

    def start(self) -> None:
        self.run([self.program])
        def address() -> re.Match | None:
            return re.search(r"^\S+:\d+$", (self.folder / "log").read_text(), re.MULTILINE)

        self.await_ready(lambda: address() is not None)
        self.settings = {"type": "kafka", "brokers": address().group(0)}


BROKERS = {"kafka": Kafka, "redis": Redis, "nats": Nats, "rabbitmq": RabbitMq, "webhook": Webhook}
