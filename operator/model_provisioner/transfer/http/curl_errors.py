"""Turns the errors of libcurl into ProvisionError.

Called by `client`. The text of libcurl is used only for certificate errors: other texts may contain a URL, and a URL
may be signed.
"""

import os
import re

import pycurl

from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    NameResolutionFailed,
    ProvisionError,
    SourceUnavailable,
    TLSVerificationFailed,
)
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.proxy import Proxy

CONNECT_SECONDS = 15
PROXY_AUTHENTICATION_REQUIRED = 407
_FORBIDDEN = 403
_TUNNELS = frozenset({0, 200})
_CERTIFICATE_ERRORS = frozenset({pycurl.E_PEER_FAILED_VERIFICATION, pycurl.E_SSL_CACERT_BADFILE})
_CONNECT_ERRORS = frozenset({pycurl.E_COULDNT_CONNECT, pycurl.E_COULDNT_RESOLVE_PROXY})
_LIBRARY_PREFIX = re.compile(r"^SSL[^:]*: ")
_CAUSES = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "its name can't be resolved",
    pycurl.E_PARTIAL_FILE: "it ended early",
    pycurl.E_GOT_NOTHING: "it ended without an answer",
    pycurl.E_SSL_CONNECT_ERROR: "no agreement on TLS",
    pycurl.E_FTP_WEIRD_SERVER_REPLY: "what came is not HTTP",
    pycurl.E_UNSUPPORTED_PROTOCOL: "what came is not HTTP/1",
}


def error_for(curl: pycurl.Curl, error: pycurl.error, origin: Origin, proxy: Proxy | None) -> ProvisionError:
    """The error to raise for `error` of `curl`. A failure of the proxy is not reported as one of the source."""
    code, details = error.args
    tunnel = curl.getinfo(pycurl.HTTP_CONNECTCODE)
    if proxy is not None and tunnel not in _TUNNELS:
        return proxy_error(tunnel, origin)
    if code == pycurl.E_COULDNT_RESOLVE_HOST:
        return resolution_error(origin)
    if code in _CERTIFICATE_ERRORS:
        return _certificate_error(origin, details)
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return SourceUnavailable(f"{origin} did not take a connection within {CONNECT_SECONDS} seconds")
    if code in _CONNECT_ERRORS:
        to = str(origin) if proxy is None else f"the proxy {proxy.origin.host}"
        return SourceUnavailable(f"no connection to {to}: {_cause(curl, code)}")
    return SourceUnavailable(f"the connection to {origin} broke: {_cause(curl, code)}")


def resolution_error(origin: Origin) -> ProvisionError:
    """The error if the host of `origin` has no address."""
    return NameResolutionFailed(f"the name {origin.host} can't be resolved: check its spelling and the cluster's DNS")


def proxy_error(status: int, origin: Origin) -> ProvisionError:
    """The error if the proxy answers a request for `origin` with `status`, and opens no tunnel."""
    if status == PROXY_AUTHENTICATION_REQUIRED:
        return AccessDenied(
            f"the proxy asks for a user name and password, or for others, before it leads to {origin} (407): "
            "ask the administrator to correct its address (--proxy @FILE)"
        )
    if status == _FORBIDDEN:
        return AddressNotAllowed(f"the proxy does not lead to {origin} (403): ask its administrator to allow that host")
    return SourceUnavailable(f"the proxy got no connection to {origin} ({status})")


def _certificate_error(origin: Origin, details: str) -> ProvisionError:
    problem = _LIBRARY_PREFIX.sub("", details)
    return TLSVerificationFailed(
        f"the certificate of {origin} can't be verified ({problem}): "
        "if it has a CA of its own, ask the administrator to add it (--ca-file)"
    )


def _cause(curl: pycurl.Curl, code: int) -> str:
    number = curl.getinfo(pycurl.OS_ERRNO)
    return _CAUSES.get(code) or (os.strerror(number) if number else f"libcurl's error {code}")
