"""ClickHouse on loopback: chDB, the same engine in process, behind the HTTP that clickhouse-connect's client speaks.

`python clickhouse_front.py PORT PLACE` is the server; `front()` starts one in a process of its own, behind a gate that
cuts, slows and repeats what goes through it.
"""

from __future__ import annotations

import gzip
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    session = None
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.say(200, b"Ok.\n") if self.path.startswith("/ping") else self.run(b"")

    def do_POST(self):
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                piece = self.rfile.read(size)
                if len(piece) < size:
                    return  # cut: a server takes nothing of it
                body += piece
                self.rfile.readline()
            self.rfile.readline()
        else:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                return
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.run(body)

    def run(self, body):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query, keep_blank_values=True))
        text = asked.pop("query", "").encode()
        text = text + b"\n" + body if text else body
        values = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
        try:
            with self.lock:
                if text[:200].lstrip().upper().startswith(b"INSERT"):
                    out, form = self.insert(text, asked.get("insert_deduplication_token")), "TabSeparated"
                else:
                    out, form = self.select(text.decode(), asked, values)
            self.say(200, out, form)
        except Exception as error:
            self.say(500, str(error).encode())

    def insert(self, text, token):
        """Data follow the statement; chDB reads them from a file."""
        found = re.search(rb"FORMAT\s+(\w+)[ \t]*\n", text)
        if found is None:
            self.session.query(text.decode())
            return b""
        statement, form, data = text[: found.start()].decode(), found.group(1).decode(), text[found.end() :]
        columns = re.search(r"\((.*)\)", statement, re.DOTALL)
        names = columns.group(1) if columns else "*"
        setting = f" settings insert_deduplication_token = '{token}'" if token else ""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.session.query(f"{statement} select {names} from file('{file.name}', '{form}'){setting}")
        return b""

    def select(self, text, asked, values):
        form = re.search(r"\bFORMAT\s+(\w+)\s*;?\s*$", text, re.IGNORECASE)
        form_name = form.group(1) if form else "TabSeparated"
        if form:
            text = text[: form.start()]
        passed = {k: v for k, v in asked.items() if k in PASSED}
        if passed and text.lstrip().lower().startswith(("select", "with")):
            text += " settings " + ", ".join(f"{name} = {quoted(value)}" for name, value in passed.items())
        if "database" in asked and asked["database"]:
            self.session.query(f"use {asked['database']}")
        answer = self.session.query(text, form_name, params=values) if values else self.session.query(text, form_name)
        return answer.bytes() or b"", form_name

    def say(self, code, body, form="TabSeparated"):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Format", form)
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("X-ClickHouse-Query-Id", "q")
        if code != 200:
            found = re.search(rb"Code: (\d+)", body)
            self.send_header("X-ClickHouse-Exception-Code", found.group(1).decode() if found else "1")
        self.end_headers()
        self.wfile.write(body)


PASSED = {"output_format_arrow_string_as_string", "output_format_arrow_compression_method", "additional_table_filters"}


def quoted(value):
    return value if value.startswith("{") else "'" + value.replace("'", "''") + "'"


def serve(port, place):
    from chdb import session

    Handler.session = session.Session(place)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.daemon_threads = True
    server.serve_forever()


class Gate:
    """A loopback proxy that reads each request whole, and then cuts, slows or repeats it."""

    def __init__(self, server_port):
        self.server_port = server_port
        self.cut = 0
        """So many of the next inserts are broken off in the middle: half of the body arrives."""
        self.deaf = 0
        """So many of the next inserts arrive, and their answers do not."""
        self.away = False
        """Nothing arrives."""
        self.delay = 0.0
        self.times = 1
        """How often an insert is sent on."""
        self.inserts = []
        gate = self

        class Forward(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                gate._pass(self)

            do_GET = do_POST = pass_on

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _pass(self, client):
        body = self._body(client)
        if self.away:
            client.close_connection = True
            client.connection.shutdown(socket.SHUT_RDWR)
            return
        is_insert = b"INSERT" in (urllib.parse.unquote(client.path).encode() + body[:200]).upper()
        times = 1
        if is_insert:
            self.inserts.append(len(body))
            time.sleep(self.delay)
            times = self.times
            if self.cut > 0:
                self.cut -= 1
                self._half(client, body)
                return
        for _ in range(times):
            status, headers, data = self._ask(client, body)
        if is_insert and self.deaf > 0:
            self.deaf -= 1
            client.close_connection = True
            client.connection.shutdown(socket.SHUT_RDWR)
            return
        client.send_response(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "connection", "content-length", "date", "server"}:
                client.send_header(name, value)
        client.send_header("Content-Length", str(len(data)))
        client.end_headers()
        client.wfile.write(data)

    @staticmethod
    def _body(client):
        if client.headers.get("Transfer-Encoding") != "chunked":
            return client.rfile.read(int(client.headers.get("Content-Length") or 0))
        body = b""
        while size := int(client.rfile.readline().split(b";")[0] or b"0", 16):
            body += client.rfile.read(size)
            client.rfile.readline()
        client.rfile.readline()
        return body

    def _ask(self, client, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=120)
        try:
            kept = {"content-encoding", "content-type", "authorization", "x-clickhouse-user", "x-clickhouse-key"}
            headers = {name: value for name, value in client.headers.items() if name.lower() in kept}
            connection.request(client.command, client.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _half(self, client, body):
        with socket.create_connection(("127.0.0.1", self.server_port), 10) as raw:
            head = f"POST {client.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            raw.sendall(head.encode() + body[: len(body) // 2])
        client.close_connection = True
        client.connection.shutdown(socket.SHUT_RDWR)


class Front:
    """A server in a process of its own."""

    def __init__(self, place):
        self.place, self.process = place, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self):
        program = [sys.executable, "-W", "ignore", os.path.abspath(__file__), str(self.port), str(self.place)]
        self.process = subprocess.Popen(program)
        until = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1):
                    return
            except OSError:
                assert time.monotonic() < until, "ClickHouse's front did not start"
                time.sleep(0.05)

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def front(place):
    """(server, gate): a ClickHouse that keeps its data in the place."""
    server = Front(place)
    gate = Gate(server.port)
    try:
        yield server, gate
    finally:
        gate.close()
        server.kill()


if __name__ == "__main__":
    serve(*sys.argv[1:])
