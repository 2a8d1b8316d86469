"""Media inside text: `data:` addresses and base64, in every spelling that browsers accept."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from edgephi.base.errors import ConfigError

# As the URL standard reads it: blanks and control characters before it, tabs and line ends anywhere.
_SCHEME = re.compile(r"[\s\x00-\x20]*d[\t\n\r]*a[\t\n\r]*t[\t\n\r]*a[\t\n\r]*:", re.IGNORECASE)
_BASE64_MARK = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)
_WHITE_SPACE = re.compile(r"[ \t\n\f\r]+")
_NO_LINE_ENDS = {9: None, 10: None, 13: None}
_URL_SAFE = str.maketrans("-_", "+/")


def is_data_address(url: str) -> bool:
    """Whether it is a `data:` address, whatever the case of its scheme."""
    return _SCHEME.match(url) is not None


def read_data_address(url: str, where: str) -> bytes:
    """The bytes of a `data:` address, by the rules of the Fetch standard.

    White space and percent encoding, a missing padding, upper case, parameters and a fragment are allowed; so is the
    URL-safe alphabet, which browsers refuse and many programs write.

    Raises:
        ConfigError: It has no comma, is not valid Unicode, or its base64 is damaged.
    """
    header, comma, data = url[_SCHEME.match(url).end() :].partition(",")  # type: ignore[union-attr]
    if not comma:
        raise ConfigError(f"{where}: a data: address needs a comma before its data")
    data = data.partition("#")[0]
    if _BASE64_MARK.search(header.translate(_NO_LINE_ENDS)):
        return read_base64(_unquoted(data, where).decode("latin-1") if "%" in data else data, where)
    return _unquoted(data.strip().translate(_NO_LINE_ENDS), where)


def read_base64(text: str, where: str) -> bytes:
    """The bytes of base64 text; white space, a missing padding and the URL-safe alphabet are allowed.

    Raises:
        ConfigError: Another character, or a length that no bytes have.
    """
    letters = _WHITE_SPACE.sub("", text).translate(_URL_SAFE)
    letters = letters.removesuffix("=").removesuffix("=")
    if len(letters) % 4 == 1:
        raise ConfigError(f"{where}: not valid base64 ({len(letters):,} letters; it was cut, or a letter was lost)")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{where}: not valid base64 ({error})") from error


def _unquoted(text: str, where: str) -> bytes:
    try:
        return unquote_to_bytes(text)
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}: a data: address is not valid Unicode ({error.reason})") from None
