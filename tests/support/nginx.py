"""nginx on loopback, for as long as a block runs: as a reverse proxy, and as a web server of files.

Called by tests of the gateway behind a proxy, and by those of models on web servers.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support import tools
from tests.support.certificates import server_certificate
from tests.support.programs import eventually, free_port, is_listening

_CONFIGURATION = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{
    listen 127.0.0.1:{port}{tls};
    {locations}
  }}
}}
"""


@contextlib.contextmanager
def before(behind: int, directory: Path, directives: str = "", port: int | None = None) -> Iterator[int]:
    """The port of an nginx that passes on to the port `behind`; `directives` are for its `location`.

    `port` is for one that takes the place of another that has ended.
    """
    location = f"location / {{ proxy_pass http://127.0.0.1:{behind}; {directives} }}"
    with _running(directory, location, port=port) as own:
        yield own


@contextlib.contextmanager
def serving(files: Path, directory: Path, locations: str = "", ca_file: Path | None = None) -> Iterator[str]:
    """The URL of an nginx that serves `files`, with entity tags and ranges; with TLS if there is a `ca_file`, to which
    the certificate of its authority is written.

    The files below `private/` need user `reader` with password `basic-canary`; what is below `upload/` can be PUT
    (WebDAV), and text is compressed for a client that takes it. `locations` are more of them.
    """
    users = directory / "users"
    users.write_text("reader:{PLAIN}basic-canary\n")
    own = f"""
    root {files}; gzip on; gzip_min_length 1; gzip_types *;
    location /private/ {{ auth_basic models; auth_basic_user_file {users}; }}
    location /upload/ {{ dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 1g; }}
    """
    with _running(directory, own + locations, ca_file) as port:
        yield f"{'https' if ca_file else 'http'}://127.0.0.1:{port}"


@contextlib.contextmanager
def _running(directory: Path, locations: str, ca_file: Path | None = None, port: int | None = None) -> Iterator[int]:
    program = tools.require("nginx")
    port, tls = port or free_port(), ""
    if ca_file:
        certificate = directory / "nginx.pem"
        server_certificate("127.0.0.1", ca_file, certificate)
        tls = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}"
    configuration = directory / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(directory=directory, port=port, tls=tls, locations=locations))
    with subprocess.Popen([program, "-c", configuration, "-e", directory / "error.log"]) as process:
        try:
            eventually(lambda: is_listening(port), "nginx listens")
            yield port
        finally:
            process.terminate()
            process.wait(60)
