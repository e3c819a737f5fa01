"""A real S3 API on loopback: moto's server in a process of its own, behind a gate that can break."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAQ7STENOTESTKEYID",
    "AWS_SECRET_ACCESS_KEY": "s3cr3t/StenoTest+SecretAccessKey0123456789",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
}


def eventually(ask, secs=60.0, poll=0.02):
    """The first true answer."""
    deadline = time.monotonic() + secs
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(poll)


def free_port(host="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


@contextmanager
def moto_server(host="127.0.0.1"):
    """The port of a moto server that lives as long as the context."""
    port = free_port(host)
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: _answers(port, host))
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(port, host):
    try:
        connection = http.client.HTTPConnection(host, port, timeout=5)
        connection.request("GET", "/moto-api/")
        return connection.getresponse().status == 200
    except OSError:
        return False


@contextmanager
def gated(port, monkeypatch, tmp_path):
    """The way to the S3 server at that port, which this process and its children take, with a cache of their own."""
    with closing(Gate(port)) as found:
        for name, value in environment(found.url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield found


class Gate:
    """A loopback HTTP proxy before a server: counts, delays, answers 503, or is not there at all."""

    def __init__(self, server_port):
        self.server_port = server_port
        self.port = free_port()
        self.failing = 0
        """So many of the next requests get a 503."""
        self.forbidden = ""
        """Requests with this in their path and query get a 403."""
        self.refused = ""
        """Requests of this method get a 403."""
        self.allows = None
        """Requests for which this, asked (method, path), is false get a 403."""
        self.denied = []
        """(method, path) of those."""
        self.delay = 0.0
        self.late_secs = 0.0
        """So long no list has a new key: a server whose lists are behind."""
        self._born = {}
        """By path, when the first object came to be there."""
        self.seen = []
        """(method, path with query, bytes sent)"""
        self.answered = 0
        """Bytes of all answers, without their headers."""
        self.at_once = self.most_at_once = 0
        """Requests that are there now, and the most that were."""
        self.counting = threading.Lock()
        self._server = None
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def open(self):
        if self._server is None:
            gate = self

            class Handler(_Handler):
                pass

            Handler.gate = gate
            self._server = _Server(("127.0.0.1", self.port), Handler)
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        """As a server that has been stopped: connections are refused, those there are break."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def came(self, path):
        """An object has been put."""
        self._born.setdefault(unquote(urlsplit(path).path), time.monotonic())

    def listed(self, path, data):
        """A list as one that is late has it."""
        bucket, since = unquote(urlsplit(path).path).strip("/"), time.monotonic() - self.late_secs
        names = {key.partition("/")[2] for at, born in list(self._born.items())
                 if born > since and (key := at.lstrip("/")).startswith(f"{bucket}/")}  # fmt: skip

        def kept(found):
            key = unquote(re.search(rb"<Key>(.*?)</Key>", found[0])[1].decode())
            return b"" if key in names else found[0]

        return re.sub(rb"<Contents>.*?</Contents>", kept, data, flags=re.DOTALL)

    def sent(self, method="PUT", of=""):
        """The requests of a method whose path holds a text."""
        return [one for one in list(self.seen) if one[0] == method and of in one[1]]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them: what one has begun ends before the test does
    allow_reuse_address = True

    def __init__(self, *arguments):
        self.connections = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass  # a connection that we broke

    def stop(self):
        self.shutdown()
        self.socket.close()
        for one in list(self.connections):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gate = None

    def _answer(self):
        gate = self.gate
        with gate.counting:
            gate.at_once += 1
            gate.most_at_once = max(gate.most_at_once, gate.at_once)
        try:
            self._pass(gate)
        finally:
            with gate.counting:
                gate.at_once -= 1

    def _pass(self, gate):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        gate.seen.append((self.command, self.path, len(body)))
        if gate.delay:
            time.sleep(gate.delay)
        if gate.failing > 0:
            gate.failing -= 1
            self._say(503, [("Content-Type", "application/xml")], b"<Error><Code>ServiceUnavailable</Code></Error>")
            return
        denied = gate.allows is not None and not gate.allows(self.command, self.path)
        if denied:
            gate.denied.append((self.command, self.path))
        if denied or self.command == gate.refused or (gate.forbidden and gate.forbidden in self.path):
            self._say(403, [("Content-Type", "application/xml")], b"<Error><Code>AccessDenied</Code></Error>")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        with closing(http.client.HTTPConnection("127.0.0.1", gate.server_port, timeout=60)) as connection:
            connection.request(self.command, self.path, body, headers)
            reply = connection.getresponse()
            data = reply.read()
        if gate.late_secs and self.command == "GET" and "list-type" in self.path:
            data = gate.listed(self.path, data)
        elif self.command in {"PUT", "POST"} and reply.status == 200:
            gate.came(self.path)
        headers = reply.getheaders()
        if self.command != "HEAD":  # whose length is that of the object
            headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        self._say(reply.status, headers, data)

    def _say(self, status, headers, data):
        self.send_response_only(status)
        length = str(len(data))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.gate.answered += len(data)
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

    def log_message(self, *_):
        pass


def environment(url):
    """What a program needs to find the server, by documented means."""
    return {**SECRETS, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


def client(port, host="127.0.0.1"):
    """boto3's own client, to look at the server without us."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id=SECRETS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SECRETS["AWS_SECRET_ACCESS_KEY"],
    )


def objects(s3, bucket):
    """Key → bytes of everything in a bucket."""
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents") or ():
            found[one["Key"]] = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
    return found


def uploader_pids(run_dir):
    """The processes that upload this run."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"steno.upload" in words and os.fsencode(run_dir) in words:
                found.append(int(name))
    return found


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
