"""An S3 server on this machine, and a proxy in front of it that makes requests fail.

The server is moto's, in a process of its own. It checks the conditions of a put and then stores the object in two
steps, so its requests are served one at a time: only then is a conditional put atomic, as it is in S3.
"""

from __future__ import annotations

import http.client
import importlib.util
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

BUCKET = "maps"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
}  # fmt: skip
"""What the clients of the server need, besides AWS_ENDPOINT_URL."""


def need_objects() -> None:
    """Skip the test, with a reason, where the client or the server is not installed."""
    missing = [name for name in ("obstore", "moto", "flask", "flask_cors") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (geoseg[test] has them)")


@dataclass
class Fault:
    """What happens to some requests.

    Attributes:
        kind: lose, no answer though the server has acted; cut, no answer and the server knows nothing; 503, answered
            without asking the server; 503-after, answered though the server has acted; slow, a delay of `seconds`
            before the server is asked.
        method: Of the requests.
        key: Pattern that the path is searched for.
        times: Number of requests that it happens to.
        skip: Number of requests before the first one that it happens to.
    """

    kind: str
    method: str = "PUT"
    key: str = ""
    times: int = 1
    skip: int = 0
    seconds: float = 0.0
    happened: int = 0

    def claims(self, method: str, path: str) -> bool:
        """Whether it happens to this request."""
        if method != self.method or not re.search(self.key, path) or self.happened >= self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.happened += 1
        return True


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        url: Of the server as clients see it.
        faults: What is to go wrong.
        requests: Method and path of every request, as they came.
        authorization: The header of that name in the last request.
    """

    url: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorization: str = ""

    def fault(self, kind: str, key: str = "", **more: Any) -> Fault:
        """Add a fault."""
        self.faults.append(Fault(kind, key=key, **more))
        return self.faults[-1]

    def count(self) -> Counter[str]:
        """Number of requests by method; LIST is a GET of a listing, and POST deletes many objects at once."""
        return Counter("LIST" if "list-type" in path else method for method, path in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def serve(self) -> None:
        server: Any = self.server
        proxy: Proxy = server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with server.guard:
            proxy.requests.append((self.command, self.path))
            proxy.authorization = self.headers.get("Authorization", "")
            found = next((fault for fault in proxy.faults if fault.claims(self.command, self.path)), None)
        kind = found.kind if found else ""
        if found and kind == "slow":
            time.sleep(found.seconds)
        if kind == "cut":
            self._hang_up()
            return
        if kind == "503":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
            return
        connection = http.client.HTTPConnection("127.0.0.1", server.target, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if kind == "lose":
            self._hang_up()
        elif kind == "503-after":
            self._answer(503, {}, b"<Error><Code>InternalError</Code></Error>")
        else:
            hop = ("connection", "transfer-encoding", "date", "server")
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in hop}
            self._answer(answer.status, headers, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        with suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() != "content-length" or self.command == "HEAD":
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


for _method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.serve)


@contextmanager
def proxying(port: int) -> Iterator[Proxy]:
    """Run a proxy to a server on this machine while the context lasts."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.target, server.guard = True, port, threading.Lock()
    server.proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_objects() -> Iterator[int]:
    """Run an S3 server with the bucket `BUCKET` while the context lasts; yield its port."""
    with subprocess.Popen([sys.executable, "-W", "ignore", __file__], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("PUT", f"/{BUCKET}")
            assert connection.getresponse().status == 200
            connection.close()
            yield port
        finally:
            process.kill()


def main() -> None:
    """Serve S3 on a free port, which is printed."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_request(self, *_: Any) -> None:
            """Say nothing."""

    application = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def one_at_a_time(environment: dict[str, Any], start: Any) -> list[bytes]:
        with lock:
            return [b"".join(application(environment, start))]

    server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True, request_handler=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
