"""nginx as a reverse proxy on loopback, for as long as a block runs.

Called by tests of the gateway behind a proxy. It knows only the port of the server behind it.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support import tools
from tests.support.programs import eventually, free_port, is_listening

_CONFIGURATION = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{behind}; {directives} }}
  }}
}}
"""


@contextlib.contextmanager
def before(behind: int, directory: Path, directives: str = "") -> Iterator[int]:
    """The port of an nginx that passes on to the port `behind`; `directives` are for its `location`."""
    program = tools.require("nginx")
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, behind=behind, directives=directives)
    )
    with subprocess.Popen([program, "-c", configuration, "-e", directory / "error.log"]) as process:
        try:
            eventually(lambda: is_listening(port), "nginx listens")
            yield port
        finally:
            process.terminate()
            process.wait(10)
