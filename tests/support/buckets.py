"""Real servers that speak S3, on loopback, for as long as a block runs: moto's, and the Versity gateway.

moto has versions and checksums, and checks no signature. versitygw checks each signature. What installs them is in
`installs`.
"""

import base64
import contextlib
import hashlib
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import httpx

from model_provisioner.domain.credentials.credentials import AwsKeys
from model_provisioner.domain.credentials.sigv4 import presigned
from tests.support import certificates, tools
from tests.support.programs import eventually, free_port, is_listening

KEYS = AwsKeys("AKIDEXAMPLE", "s3-canary-0123456789abcdef")


@dataclass(frozen=True)
class Server:
    """`url` is the endpoint. Requests are signed with `keys`."""

    url: str
    keys: AwsKeys = KEYS
    region: str = "us-east-1"
    has_policies: bool = False
    ca_file: Path | None = None

    def put(
        self, path: str, content: bytes = b"", headers: Mapping[str, str] | None = None, query: str = ""
    ) -> httpx.Response:
        """Makes the bucket or the object at `path`, `<bucket>[/<key>]`, or sets its property `query`."""
        return self._send("PUT", path, {query: ""} if query else {}, headers or {}, content)

    def upload(self, path: str, parts: Sequence[bytes]) -> None:
        """Makes the object at `path` by an upload in `parts`, each with its SHA-256; all but the last have 5 MiB."""
        begun = self._send("POST", path, {"uploads": ""}, {"x-amz-checksum-algorithm": "SHA256"})
        upload = re.search("<UploadId>(.*)</UploadId>", begun.text)
        assert upload is not None
        done = ""
        for number, content in enumerate(parts, 1):
            checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
            query = {"partNumber": str(number), "uploadId": upload[1]}
            tag = self._send("PUT", path, query, {"x-amz-checksum-sha256": checksum}, content).headers["ETag"]
            names = {"PartNumber": number, "ETag": tag, "ChecksumSHA256": checksum}
            done += f"<Part>{''.join(f'<{name}>{value}</{name}>' for name, value in names.items())}</Part>"
        document = f"<CompleteMultipartUpload>{done}</CompleteMultipartUpload>".encode()
        self._send("POST", path, {"uploadId": upload[1]}, {}, document)

    def _send(
        self,
        method: Literal["PUT", "POST"],
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        content: bytes = b"",
    ) -> httpx.Response:
        url = f"{self.url}/{quote(path)}"
        signed = presigned(method, url, self.keys, self.region, time.time(), 60, query, headers)
        verify = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True
        answer = httpx.request(method, signed, content=content, headers=dict(headers), verify=verify)
        return answer.raise_for_status()

    def publish(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        """Puts `objects` into `bucket`, which then can be read without a key: by ACLs at moto, else by a policy."""
        acl = {} if self.has_policies else {"x-amz-acl": "public-read"}
        for key, content in objects.items():
            self.put(f"{bucket}/{key}", content, acl)
        if not self.has_policies:
            self.put(bucket, b"", acl, "acl")
            return
        allowed = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": resources}]}
        self.put(bucket, json.dumps(policy).encode(), query="policy")


@contextlib.contextmanager
def moto(tls: Path | None = None) -> Iterator[Server]:
    """It is a Security Token Service too. With a directory `tls` for its certificates, it speaks TLS."""
    python = tools.require("moto")
    command, ca_file = [python, "-I", "-m", "moto.server", "-H", "127.0.0.1", "-p", "PORT"], None
    if tls is not None:
        ca_file, certificate, key = certificates.server_files(["127.0.0.1"], tls)
        command += ["--ssl-cert", str(certificate), "--ssl-key", str(key)]
    with _running(command, {}) as url:
        yield Server(url.replace("http:", "https:") if tls else url, ca_file=ca_file)


@contextlib.contextmanager
def versity(directory: Path, region: str = "us-east-1", keys: AwsKeys = KEYS) -> Iterator[Server]:
    program = tools.require("versitygw")
    data, versions, sidecar = (directory / name for name in ("data", "versions", "sidecar"))
    for one in (data, versions, sidecar):
        one.mkdir()
    flags = ["--port", "127.0.0.1:PORT", "--region", region, "--quiet"]
    backend = ["posix", "--versioning-dir", str(versions), "--sidecar", str(sidecar), str(data)]
    environment = {"ROOT_ACCESS_KEY_ID": keys.key_id, "ROOT_SECRET_ACCESS_KEY": keys.secret}
    with _running([program, *flags, *backend], environment) as url:
        yield Server(url, keys, region, has_policies=True)


@contextlib.contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    command = [word.replace("PORT", str(port)) for word in command]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            eventually(lambda: is_listening(port), "the S3 server listens", 30)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)
