"""An agent as EKS Pod Identity has it on each node: gives an access key to who sends the token that is in a file."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from model_provisioner.domain.credentials.credentials import AwsKeys

TOKEN = "pod-canary-0123456789abcdef"
SESSION = "session-canary-0123456789abcdef"


@dataclass
class PodAgent:
    """`environment` is that of the pod; `asked` has the status of each answer."""

    environment: dict[str, str]
    asked: list[int] = field(default_factory=list)


@contextlib.contextmanager
def pod_agent(keys: AwsKeys, file: Path) -> Iterator[PodAgent]:
    file.write_text(TOKEN)
    agent = PodAgent({"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 200 if self.headers["Authorization"] == file.read_text() else 401
            agent.asked.append(status)
            expires = datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            given = {
                "AccessKeyId": keys.key_id,
                "SecretAccessKey": keys.secret,
                "Token": SESSION,
                "Expiration": expires,
            }
            body = json.dumps(given if status == 200 else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    agent.environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://127.0.0.1:{server.server_port}/v1/credentials"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield agent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
