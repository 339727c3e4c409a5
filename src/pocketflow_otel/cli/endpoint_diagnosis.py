"""Why an endpoint does not take what is sent to it, and what to type then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pocketflow_otel.export.otlp.endpoints import (
    ENDPOINT,
    EXAMPLE_URL,
    GRPC,
    GRPC_PORT,
    HEADERS,
    HTTP,
    HTTP_PORT,
    PROTOCOL,
    exporter_variable,
    is_url,
    path_of,
    port_of,
    redacted_url,
)
from pocketflow_otel.views.styled_text import cut, escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketflow_otel.export.otlp.endpoints import Endpoint

_NO_KEY: Final = "it refuses the key, or misses one"
_REFUSED: Final = "connection refused"
_NO_HOST: Final = "there is no such host"
_REASONS: Final = (
    (r"Connection refused", _REFUSED),
    (r"Name or service not known|DNS|resol(ution|ving)|nodename nor servname", _NO_HOST),
    (r"No connection adapters|Invalid URL|Failed to parse", "it is no URL of a server"),
    (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed", "its certificate is not trusted"),
    (
        r"WRONG_VERSION_NUMBER|wrong version number|record layer failure|SSL_ERROR_SSL",
        "it does not speak TLS",
    ),
    (r"http1\.x", "it speaks HTTP, not gRPC"),
    (r"\b(401|403|UNAUTHENTICATED|PERMISSION_DENIED)\b", _NO_KEY),
    (r"\b(404|UNIMPLEMENTED)\b", "there is nothing that takes them at this path"),
    (r"DEADLINE_EXCEEDED|timed out|[Tt]imeout", "no answer within 2 s"),
)
"""What exporters say at length, in few words; the first that fits."""
_MAX_LENGTH: Final = 200


def reason(failed: str) -> str:
    """Return why an exporter failed, in few words, or as many of its own as make sense."""
    known = (words for pattern, words in _REASONS if re.search(pattern, failed))
    return next(known, cut(escape(" ".join(failed.split())), _MAX_LENGTH))


def may_take_other_protocol(failed: str) -> bool:
    """Return whether a server is there that may take another protocol."""
    return reason(failed) not in (_REFUSED, _NO_HOST, _NO_KEY)


def fix_for(to: Endpoint, failed: str) -> str:
    """Return what to type where an endpoint does not take what is sent to it."""
    return next(_fixes(to, failed))


def _fixes(to: Endpoint, failed: str) -> Iterator[str]:
    """Yield what may help, the likeliest first."""
    port, over_grpc = port_of(to.url), to.protocol == GRPC
    protocol = to.protocol_from or PROTOCOL
    if protocol.endswith("PROTOCOL") and port in (GRPC_PORT, HTTP_PORT):
        if over_grpc and port == HTTP_PORT:
            yield f"export {protocol}={HTTP}"
        if not over_grpc and port == GRPC_PORT:
            yield f"export {protocol}={GRPC}"
    url, path = redacted_url(to.url).rstrip("/"), path_of(to.signal)
    if to.url_from and "//" not in to.url:
        yield f"export {to.url_from}=http://{url}   # without a scheme gRPC uses TLS, and HTTP nothing"
    elif to.url_from and not is_url(to.url):
        yield f"export {to.url_from}={EXAMPLE_URL}   # or where the collector is"
    if not over_grpc and to.url_from == ENDPOINT and url.endswith(path):
        yield f"export {to.url_from}={url.removesuffix(path)}   # {path} is added to it"
    if not over_grpc and to.url_from not in ("", ENDPOINT) and url.count("/") < len("://"):
        yield f"export {to.url_from}={url}{path}   # nothing is added to it"
    if reason(failed) == _NO_KEY:
        yield f"export {HEADERS}=name=value   # as the service's page says"
    yield f"start the collector, or unset {to.url_from or exporter_variable(to.signal)}"
