"""Every version that every object of a namespace ever had, and a judgement of all of them at the end.

Started with each stand, so that the rules of `conditions` and `judgement` are asserted on every status patch
of every test, and those about Events on all that were posted.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from http.client import HTTPException, HTTPSConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from deploy.local.api import Api, ApiError
from tests.support.conditions import condition
from tests.support.judgement import Reign, Version, complaints

_MOST_EVENTS = 10

Document = dict[str, Any]


class History:
    """Watches while the block runs; raises at its end if a rule was broken at any time."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._versions: dict[str, list[Version]] = {}
        address = urlsplit(api.url)
        self._connection = HTTPSConnection(address.hostname or "", address.port, context=api.tls)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        path = f"/apis/models.rbee.dev/v1alpha1/namespaces/{self._namespace}/modeldownloads?watch=true"
        self._connection.request("GET", path)
        self._response = self._connection.getresponse()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._connection.sock:
            self._connection.sock.shutdown(2)
        self._thread.join(5)
        self._connection.close()
        if error is None:
            found = self.complaints()
            assert not found, "\n".join(found)

    def of(self, name: str) -> list[Document]:
        """All versions of the objects of that name, oldest first."""
        all_ = (one.document for versions in list(self._versions.values()) for one in versions)
        return [document for document in all_ if document["metadata"]["name"] == name]

    def reasons(self, name: str) -> list[str]:
        """The reasons that Ready had, one after the other."""
        found = [ready["reason"] for one in self.of(name) if (ready := condition(one, "Ready"))]
        return [reason for before, reason in zip([None, *found], found, strict=False) if reason != before]

    def complaints(self) -> list[str]:
        """What was not as it must be."""
        reign = self._reign()
        by_object = (complaints(versions, reign) for versions in self._versions.values())
        return [complaint for found in by_object for complaint in found] + list(self._about_events())

    def _reign(self) -> Reign | None:
        """By the Lease of the namespace: its holder stamps it when it begins, and then every few seconds."""
        try:
            lease = self._api.get(f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/model-provisioner")
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        since, until = (datetime.fromisoformat(lease["spec"][key]) for key in ("acquireTime", "renewTime"))
        return Reign(since.timestamp(), until.timestamp())

    def _about_events(self) -> Iterable[str]:
        items = self._api.get(f"/api/v1/namespaces/{self._namespace}/events")["items"]
        told = Counter(item["involvedObject"]["uid"] for item in items)
        repeated = Counter((item["involvedObject"]["uid"], item["reason"]) for item in items)
        yield from (f"{uid}: {count} Events" for uid, count in told.items() if count > _MOST_EVENTS)
        yield from (f"{uid}: {count} Events {reason}" for (uid, reason), count in repeated.items() if count > 1)

    def _read(self) -> None:
        try:
            for line in self._response:
                event = json.loads(line)
                if event["type"] in {"ADDED", "MODIFIED"}:
                    versions = self._versions.setdefault(event["object"]["metadata"]["uid"], [])
                    versions.append(Version(time.time(), event["object"]))
        except (OSError, ValueError, HTTPException):
            return  # the end of the block
