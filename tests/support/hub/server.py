"""The test hub: a Hugging Face hub on loopback. Tests fill it with repositories and script its faults.

It serves what `huggingface_hub` and downloads by ranges use, on two origins: the API, and a content host with signed
URLs that expire. All methods may be called from any thread, before or while it runs, unless they need `start`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support.certificates import server_context
from tests.support.hub.faults import Corrupt, Edges, Fail, Gate, IgnoreRanges, PauseAt, ResetAfter, Where
from tests.support.hub.listener import Listener, LoopThread
from tests.support.hub.log import Request
from tests.support.hub.origins import api_application, content_application
from tests.support.hub.repositories import Repository
from tests.support.hub.state import ModelScopeFaults, State


class Hub:
    def __init__(
        self,
        tls: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        names: tuple[str, ...] = ("localhost", "127.0.0.1"),
    ) -> None:
        """`port` is that of the API (0: any); the content host takes any. The certificate is for `names` and `host`."""
        self._tls = tls
        self._host = host
        self._port = port
        self._names = (*names, host)
        self._state = State()
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._thread: LoopThread | None = None
        self._listeners: list[Listener] = []

    def start(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="hub-")
        context = server_context(self._names, self.ca_file) if self._tls else None
        state = self._state
        api = Listener(lambda: api_application(state), self._host, self._port, context)
        content = Listener(lambda: content_application(state), self._host, 0, context)
        state.endpoint, state.content_origin = api.origin, content.origin
        self._listeners = [api, content]
        self._thread = LoopThread()
        self.up()

    def stop(self) -> None:
        if self._thread is None or self._directory is None:
            return
        self.down()
        self._thread.stop()
        for listener in self._listeners:
            listener.release()
        self._directory.cleanup()
        self._thread = self._directory = None

    def __enter__(self) -> "Hub":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def down(self) -> None:
        """Closes all connections and refuses new ones. Needs `start`."""
        for listener in self._listeners:
            self._running().run(listener.close())

    def up(self) -> None:
        """Listens again, on the same ports. Needs `start`."""
        for listener in self._listeners:
            self._running().run(listener.open())

    @property
    def endpoint(self) -> str:
        """Scheme, host and port of the API. Needs `start`, as do the other addresses."""
        return self._state.endpoint

    @property
    def content_origin(self) -> str:
        return self._state.content_origin

    @property
    def host_port(self) -> str:
        return self._state.endpoint.partition("://")[2]

    @property
    def ca_file(self) -> Path:
        """The PEM file of the CA of both origins; it exists between `start` and `stop`."""
        if self._directory is None:
            raise RuntimeError("the hub is not started")
        return Path(self._directory.name) / "ca.pem"

    def repository(
        self,
        name: str,
        private: bool = False,
        gated: bool = False,
        disabled: bool = False,
        tokens: frozenset[str] = frozenset({"hf_good"}),
    ) -> Repository:
        """Creates or replaces `owner/name`. `tokens` may read its files; those of a public one need no token."""
        repository = Repository(name, private=private, gated=gated, disabled=disabled, tokens=tokens)
        return self._state.repositories.create(repository)

    @property
    def tokens(self) -> set[str]:
        """Tokens of accounts that exist and may read no private repository; any other unknown token is a bad one."""
        return self._state.repositories.tokens

    def fail(
        self,
        status: int,
        times: int | None = 1,
        *,
        headers: Mapping[str, str] | None = None,
        where: Where = "content",
        body: bytes = b"",
        path: str | None = None,
        above: int = 0,
    ) -> None:
        """Answers the next `times` requests (None: all) with `status`; an empty body is that origin's kind of error.

        With `above`, only requests while more than so many content requests are in progress.
        """
        rule = Fail(status=status, times=times, headers=headers or {}, where=where, body=body, path=path, above=above)
        self._state.faults.add(rule)

    def reset_after(self, size: int, times: int | None = 1, path: str | None = None) -> None:
        """Resets the connection once `size` body bytes of a response have been delivered."""
        self._state.faults.add(ResetAfter(size=size, times=times, path=path))

    def pause_at(self, offset: int, path: str | None = None, times: int | None = None) -> Gate:
        """Sends no content byte at or beyond file offset `offset` until the gate is released, to anybody or only to
        the first `times` bodies that get there.
        """
        rule = PauseAt(offset=offset, path=path, times=times)
        self._state.faults.add(rule)
        return rule.gate

    def corrupt(self, path: str, offset: int, times: int | None = None) -> None:
        """Flips a bit of what is served, not of the digest. `times` counts responses that carried the flipped byte."""
        self._state.faults.add(Corrupt(path=path, offset=offset, times=times))

    def ignore_ranges(self, path: str | None = None) -> None:
        """Answers 200 with the whole file to requests for a range."""
        self._state.faults.add(IgnoreRanges(path=path))

    def edges(self, count: int, path: str | None = None) -> None:
        """Gives the same bytes the validators of `count` edges in turn, one for each answer."""
        self._state.faults.add(Edges(count=count, path=path))

    def clear_faults(self) -> None:
        """Removes all faults and releases all gates; rates stay."""
        self._state.faults.clear()

    def bytes_per_second(self, rate: int | None) -> None:
        """Limits all bodies together, from now on; None removes the limit."""
        self._state.pacer.rate = rate

    def bytes_per_connection(self, rate: int | None) -> None:
        """Limits each body, from now on; None removes the limit."""
        self._state.connection_rate = rate

    @property
    def signed_url_seconds(self) -> float:
        """How long URLs that are signed from now on are valid."""
        return self._state.signer.seconds

    @signed_url_seconds.setter
    def signed_url_seconds(self, seconds: float) -> None:
        self._state.signer.seconds = seconds

    @property
    def signatures(self) -> list[str]:
        """The signature of every URL that was signed so far, not percent-encoded."""
        return self._state.signer.signatures

    def expire_signed_urls(self) -> None:
        """Makes every URL that was signed so far expire now."""
        self._state.signer.expire_all()

    @property
    def tree_page_size(self) -> int:
        """Entries per page of a tree; 1000 as on the real hub."""
        return self._state.tree_page_size

    @tree_page_size.setter
    def tree_page_size(self, entries: int) -> None:
        self._state.tree_page_size = entries

    @property
    def modelscope(self) -> ModelScopeFaults:
        return self._state.modelscope

    @property
    def log(self) -> list[Request]:
        """All requests since the start or `clear_log`, in order of arrival, also those that are running."""
        return self._state.log.requests

    def bytes_sent(self, path: str | None = None) -> int:
        """Body bytes that the content host handed to its sockets, of one file or repository or of all."""
        return self._state.log.bytes_sent(path)

    @property
    def connections(self) -> int:
        """The content requests that are in progress now."""
        return self._state.log.content_running

    @property
    def connections_high_water(self) -> int:
        """The most content requests that were in progress at one time."""
        return self._state.log.connections_high_water

    def clear_log(self) -> None:
        self._state.log.clear()

    def _running(self) -> LoopThread:
        if self._thread is None:
            raise RuntimeError("the hub is not started")
        return self._thread
