"""Records every version of every ModelDownload of a namespace, and checks them at the end.

Started by `stand`, so that every status patch of every test is checked. The rules are in `conditions` and `judgement`.
"""

import contextlib
import json
import math
import threading
import time
from datetime import datetime
from http.client import HTTPException, HTTPSConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from deploy.local.api import Api, ApiError
from tests.support.conditions import condition
from tests.support.judgement import MOST_EVENTS, Reign, Version, complaints, event_storms
from tests.support.programs import eventually

_WATCH_SECONDS = 24 * 3600  # else the API server ends it after half an hour
_CATCH_UP_SECONDS = 30

Document = dict[str, Any]


class History:
    """Watches while the block runs; raises AssertionError at its end if a rule was broken at any time.

    `lease_namespace` is the namespace of the Lease of the operator that serves `namespace`. `most_events` is the most
    Events that one object may have. `forged` are the names of objects whose status the test itself writes: the rules
    are those of an operator, and do not hold for them.
    """

    def __init__(self, api: Api, namespace: str) -> None:
        self.lease_namespace = namespace
        self.most_events = MOST_EVENTS
        self.forged: set[str] = set()
        self._api = api
        self._namespace = namespace
        self._path = f"/apis/models.rbee.dev/v1alpha1/namespaces/{namespace}/modeldownloads"
        self._versions: dict[str, list[Version]] = {}
        self._seen: dict[str, float] = {}
        self._end = "for no known reason"
        address = urlsplit(api.url)
        self._connection = HTTPSConnection(address.hostname or "", address.port, context=api.tls)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._connection.request("GET", f"{self._path}?watch=true&timeoutSeconds={_WATCH_SECONDS}")
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if error is None:
                self._see_all()
        finally:
            self._close()
        if error is None:
            found = self.complaints()
            assert not found, "\n".join(found)

    def of(self, name: str) -> list[Document]:
        """All versions of the objects with this name up to now, oldest first."""
        if self._thread.is_alive():
            self._see_all()
        all_ = (one.document for versions in list(self._versions.values()) for one in versions)
        return [document for document in all_ if document["metadata"]["name"] == name]

    def reasons(self, name: str) -> list[str]:
        """The reasons of the Ready condition in order, without repetitions."""
        found = [ready["reason"] for one in self.of(name) if (ready := condition(one, "Ready"))]
        return [reason for before, reason in zip([None, *found], found, strict=False) if reason != before]

    def complaints(self) -> list[str]:
        """The broken rules, one line for each."""
        reign = self._reign()
        judged = (one for one in self._versions.values() if one[0].document["metadata"]["name"] not in self.forged)
        by_object = (complaints(versions, reign) for versions in judged)
        events = self._api.get(f"/api/v1/namespaces/{self._namespace}/events")["items"]
        return [complaint for found in by_object for complaint in found] + event_storms(events, self.most_events)

    def _reign(self) -> Reign | None:
        """From the Lease: its holder writes acquireTime at its start, and renewTime every few seconds."""
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self.lease_namespace}/leases"
        try:
            lease = self._api.get(f"{leases}/model-provisioner")
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        since, until = (datetime.fromisoformat(lease["spec"][key]) for key in ("acquireTime", "renewTime"))
        return Reign(since.timestamp(), until.timestamp())

    def _see_all(self) -> None:
        """Returns when the watch has sent every version that the API server has now. Fails if the watch has ended."""
        items = self._api.get(self._path)["items"]
        listed = {item["metadata"]["uid"]: int(item["metadata"]["resourceVersion"]) for item in items}

        def has_told() -> bool:
            seen = dict(self._seen)
            return all(seen.get(uid, 0) >= listed.get(uid, math.inf) for uid in seen.keys() | listed.keys())

        eventually(lambda: has_told() or not self._thread.is_alive(), "the watch tells of all", _CATCH_UP_SECONDS)
        assert self._thread.is_alive(), f"the watch has ended, and nobody knows what came then: {self._end}"

    def _close(self) -> None:
        if self._connection.sock:
            with contextlib.suppress(OSError):  # it may be closed already
                self._connection.sock.shutdown(2)
        self._thread.join(5)
        self._connection.close()

    def _read(self) -> None:
        try:
            for line in self._response:
                self._take(json.loads(line))
            self._end = "by the API server"
        except (OSError, ValueError, HTTPException) as error:
            self._end = repr(error)

    def _take(self, event: Document) -> None:
        if event["type"] == "ERROR":
            raise ValueError(event["object"])
        document, metadata = event["object"], event["object"]["metadata"]
        if event["type"] == "DELETED":
            self._seen[metadata["uid"]] = math.inf
            return
        self._versions.setdefault(metadata["uid"], []).append(Version(time.time(), document))
        self._seen[metadata["uid"]] = int(metadata["resourceVersion"])
