"""Images and recordings inside a request: `data:` URLs and base64. No address is ever opened or resolved."""

from __future__ import annotations

import re

from edgephi.base.errors import ConfigError
from edgephi.sources.data_url import is_data_address, read_base64, read_data_address
from edgephi_serve.errors import ApiError, invalid

#: Shorter base64 holds no image and no recording, but could be a word or a path.
_LEAST_LETTERS = 88
_NO_BASE64 = re.compile(r"[^A-Za-z0-9+/=_\-\s]")


def check_url(url: str, where: str, kind: str) -> None:
    """Refuse what does not hold the data itself.

    Raises:
        ApiError: An address of something elsewhere, or a path.
    """
    if is_data_address(url):
        return
    if len(url) < _LEAST_LETTERS or _NO_BASE64.search(url[:256]):
        raise _refused(where, kind)


def media_bytes(url: str, where: str, kind: str) -> bytes:
    """The bytes of a `data:` URL or of base64 without its prefix.

    Raises:
        ApiError: As `check_url`, or the base64 is damaged.
    """
    check_url(url, where, kind)
    try:
        return read_data_address(url, where) if is_data_address(url) else read_base64(url, where)
    except ConfigError as error:
        raise invalid(f"{error}.", param=where) from None


def _refused(where: str, kind: str) -> ApiError:
    return invalid(
        f"{where}: send the {kind} itself, as a data: URL; this server opens no address and no file.",
        param=where,
        code="unsupported_url",
    )
