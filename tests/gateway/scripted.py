"""A fake gateway below a base path, for failures that the real one has rarely.

It serves the page's own files and speaks the HTTP API; the stream is written by the test, byte by byte.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import model_provisioner.gateway

BASE = "/behind/a/proxy"
_PAGE = Path(model_provisioner.gateway.__file__).parent / "page"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the page: the path below `/v1/models`, with its query."""

    method: str
    path: str
    body: Document | None


class Connection:
    """One open stream of the page."""

    def __init__(self, last_event_id: str | None) -> None:
        self.last_event_id = last_event_id
        self._writes: queue.Queue[bytes | None] = queue.Queue()

    def send(self, data: bytes) -> None:
        self._writes.put(data)

    def tell(self, name: str, data: Document, last_id: int = 1) -> None:
        self.send(f"id: {last_id}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode())

    def end(self) -> None:
        """As a gateway that stops: the chunked body ends with an empty chunk (RFC 9112)."""
        self.send(b"")
        self.lose()

    def lose(self) -> None:
        """As a proxy or a network that fails: the connection closes within the body."""
        self._writes.put(None)

    def written(self) -> Iterator[bytes]:
        """The data to send, in order; an empty piece ends the body."""
        return iter(self._writes.get, None)


@dataclass
class ScriptedGateway:
    """The content of the lists, the requests so far, and the open streams.

    `refusals` are the HTTP statuses of the next attempts to open a stream; `lists` is the HTTP status of the lists.
    """

    url: str
    downloads: list[Document] = field(default_factory=list)
    models: list[Document] = field(default_factory=list)
    lists: int = 200
    refusals: list[int] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    streams: list[Connection] = field(default_factory=list)
    opened: "queue.Queue[Connection]" = field(default_factory=queue.Queue)

    def connection(self, seconds: float = 30) -> Connection:
        """The next stream that the page opens. Raises queue.Empty."""
        return self.opened.get(timeout=seconds)

    def asked(self, method: str, path: str) -> list[Call]:
        return [call for call in self.calls if (call.method, call.path) == (method, path)]


class _Handler(BaseHTTPRequestHandler):
    gateway: ScriptedGateway
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        whole = urlsplit(self.path).path
        path = whole.removeprefix(BASE)
        if path == whole:
            self._json(404, {"detail": "the proxy passes on only what is below its base path"})
        elif path == "/v1/models/download/progress":
            self._stream()
        elif path.startswith("/v1/models"):
            self._called()
            self._json(self.gateway.lists, {"downloads": self.gateway.downloads, "models": self.gateway.models})
        else:
            self._file(_PAGE / ("index.html" if path == "/" else path.removeprefix("/page/")))

    def do_POST(self) -> None:
        self._called()
        self._json(202, {"status": "started"})

    def do_DELETE(self) -> None:
        self._called()
        self._json(409, {"detail": "others hold <b>this</b> model"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name that the base class gave it
        """The base class writes every request to standard error."""

    def _called(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.gateway.calls.append(Call(self.command, self.path.removeprefix(f"{BASE}/v1/models"), body))

    def _stream(self) -> None:
        if self.gateway.refusals:
            self._json(self.gateway.refusals.pop(0), {"detail": "not now"})
            return
        self._begin(200, "text/event-stream; charset=utf-8", ("Transfer-Encoding", "chunked"))
        connection = Connection(self.headers.get("Last-Event-ID"))
        self.gateway.streams.append(connection)
        self.gateway.opened.put(connection)
        with contextlib.suppress(ConnectionError):  # the page has closed the stream
            for data in connection.written():
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _file(self, file: Path) -> None:
        if file.is_file():
            self._begin(200, _TYPES[file.suffix])
            self.wfile.write(file.read_bytes())
        else:
            self._json(404, {"detail": "not a file of the page"})

    def _json(self, status: int, document: Document) -> None:
        self._begin(status, "application/json")
        self.wfile.write(json.dumps(document).encode())

    def _begin(self, status: int, content_type: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", content_type), ("Connection", "close"), *headers):
            self.send_header(name, value)
        self.end_headers()


@contextlib.contextmanager
def scripted_gateway() -> Iterator[ScriptedGateway]:
    """A server on loopback, for as long as the block runs."""

    class Handler(_Handler):
        """A class for this gateway only, because `gateway` is an attribute of the class."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        gateway = ScriptedGateway(f"http://127.0.0.1:{server.server_port}{BASE}/")
        Handler.gateway = gateway
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield gateway
        finally:
            for connection in gateway.streams:
                connection.end()
            server.shutdown()
            thread.join()
