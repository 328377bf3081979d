"""An HTTP file server with range requests, like web servers and cloud stores.

It runs in a process of its own: some rasterio calls hold the GIL while GDAL waits for an answer.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, body: bool) -> None:
        server: Any = self.server
        path = self.path.split("?")[0].lstrip("/")
        if path.startswith("hang"):
            time.sleep(60)
        status = {"secret": 403, "broken": 500}.get(path.split("/")[0])
        file = Path(server.folder) / path
        if status or not file.is_file():
            self._head(status or 404, {"Content-Length": "0"})
            server.told(self.path, 0)
            return
        data = file.read_bytes()
        headers = {"ETag": f'"{zlib.crc32(data)}"', "Accept-Ranges": "bytes"}
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start, stop = int(wanted[1]), min(int(wanted[2] or len(data)) + 1, len(data))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            data = data[start:stop]
        server.told(self.path, len(data) if body else 0)
        self._head(206 if wanted else 200, {**headers, "Content-Length": str(len(data))})
        if body:
            self.wfile.write(data)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


@dataclass(frozen=True)
class Server:
    """A running server; `asked`: requested paths, `sent`: bytes of the answers."""

    port: int
    log: Path

    @property
    def asked(self) -> list[str]:
        return [line.split("\t")[0] for line in self.log.read_text().splitlines()]

    @property
    def sent(self) -> int:
        return sum(int(line.split("\t")[1]) for line in self.log.read_text().splitlines())


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve the files of a folder while the context lasts."""
    log = folder / "requests.log"
    log.touch()
    command = [sys.executable, __file__, folder, log]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(int(process.stdout.readline()), log)
        finally:
            process.kill()


def main() -> None:
    """Serve FOLDER, log requests to LOG, print the port."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.folder = sys.argv[1]
    with Path(sys.argv[2]).open("a", buffering=1) as log:
        server.told = lambda path, sent: log.write(f"{path}\t{sent}\n")
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
