"""Decides which requests pass a front: `python -m benchmarks.sources.gate tokens|addresses PORT FRONT SECONDS TOLD`.

`tokens`: as a registry with a token server (distribution, spec/auth/token.md), whose tokens expire after SECONDS and
are said to live TOLD seconds. `addresses`: as S3, which refuses an address after X-Amz-Expires (SECONDS in its place).
Nothing else of a token or a signature is checked here: the server behind the front checks signatures.
"""

import itertools
import sys
import time
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler

_TOKEN = "/gate/token"
_EXPIRED = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def tokens(front: str, seconds: float, told: int) -> Handler:
    given: dict[str, float] = {}
    numbers = itertools.count(1)
    challenge = f'Bearer realm="{front}{_TOKEN}",service="bench",scope="repository:bench/model:pull"'

    async def answer(request: web.Request) -> web.Response:
        now = time.monotonic()
        if request.path == _TOKEN:
            token = f"token-{next(numbers):06}"
            given[token] = now
            return web.json_response({"token": token, "expires_in": told})
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if now - given.get(sent, -seconds) >= seconds:
            return web.json_response({"errors": []}, status=401, headers={"WWW-Authenticate": challenge})
        return _pass(request)

    return answer


def addresses(seconds: float) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        signed = request.query.get("X-Amz-Date")
        if signed is not None:
            since = datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            if time.time() - since.timestamp() > seconds:
                return web.Response(status=403, text=_EXPIRED, content_type="application/xml")
        return _pass(request)

    return answer


def _pass(request: web.Request) -> web.Response:
    return web.Response(headers={"X-Accel-Redirect": f"/passed{request.raw_path}"})


def main() -> None:
    kind, port, front, seconds, told = sys.argv[1:]
    handler = tokens(front, float(seconds), int(told)) if kind == "tokens" else addresses(float(seconds))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    web.run_app(application, host="127.0.0.1", port=int(port), print=None)


if __name__ == "__main__":
    main()
