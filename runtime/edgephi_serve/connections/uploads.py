"""A multipart form with one file, which goes to an unnamed file on disk piece by piece."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from edgephi_serve.connections.bodies import ClientLeftError, check_head, header
from edgephi_serve.connections.exchange import Exchange, Receive, Scope
from edgephi_serve.errors import ApiError, invalid, too_large, unavailable
from edgephi_serve.settings import MIB, Limits

KIND = "multipart/form-data"
_MOST_FIELDS = 32
_MOST_FIELD_BYTES = 64 * 1024
_MOST_HEADER_BYTES = 4 * 1024


@dataclass(slots=True)
class Form:
    """The fields of a form, and its file.

    Attributes:
        file: The file's content, unnamed, and removed by the system when it is closed.
        has_file: Whether a file came.
        fields: Texts by name, without the brackets of lists.
    """

    file: IO[bytes]
    has_file: bool = False
    fields: dict[str, list[str]] = field(default_factory=dict)

    def last(self, name: str) -> str | None:
        """A field's last text; None for an empty one and one that did not come."""
        return (self.fields.get(name) or [""])[-1] or None


@contextmanager
def spool() -> Iterator[IO[bytes]]:
    """A file in $TMPDIR that no directory lists.

    Raises:
        ApiError: The disk takes none.
    """
    try:
        # Without a folder, tempfile first writes a named file to look for one, which a killed server would leave.
        file = tempfile.TemporaryFile(dir=os.environ.get("TMPDIR") or "/tmp")  # noqa: SIM115 - closed below
    except OSError:
        raise _no_room() from None
    with file:
        yield file


async def read_form(scope: Scope, receive: Receive, file: IO[bytes], limits: Limits) -> Form:
    """The form of a request.

    Args:
        scope: Of the request.
        receive: Of the request.
        file: Takes the uploaded file.
        limits: Of its size.

    Raises:
        ApiError: It is damaged, too large, or no such form.
        ClientLeftError: The client left before its end.
    """
    check_head(scope, KIND, limits.upload_bytes)
    _, options = parse_options_header(header(scope, b"content-type") or "")
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise invalid("The content type has no boundary; let the HTTP client write it.")
    exchange, reader = Exchange.of(scope), _Reader(Form(file))
    parser = MultipartParser(boundary, reader.callbacks())
    is_more = True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        body, is_more = message.get("body", b""), message.get("more_body", False)
        exchange.received += len(body)
        if exchange.received > limits.upload_bytes:
            raise too_large("The upload", f"{limits.upload_bytes // MIB:,} MiB")
        try:
            parser.write(body)
        except FormParserError:
            raise invalid("The form is damaged.") from None
        except OSError:
            raise _no_room() from None
    if not reader.has_ended:
        raise invalid("The form is cut: its last boundary is missing.")
    return reader.form


def _no_room() -> ApiError:
    return unavailable("server_is_overloaded", "The server has no room on its disk for the recording.")


class _Reader:
    """Takes what the parser finds."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.has_ended = False
        self._parts = 0
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._name: str | None = None  # of the field that comes; None for the file
        self._text = bytearray()

    def callbacks(self) -> Any:
        """For the parser."""
        return {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_FIELDS:
            raise invalid(f"The form has more than {_MOST_FIELDS} parts.")
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        _grow(self._header, data[start:end], _MOST_HEADER_BYTES)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        _grow(self._value, data[start:end], _MOST_HEADER_BYTES)

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not name:
            raise invalid("A part of the form has no name.")
        is_file = b"filename" in options or name == "file"
        if is_file and name != "file":
            raise invalid("Only the field `file` can hold a file.", param="file")
        if is_file and self.form.has_file:
            raise invalid("The form holds more than one file; send one.", param="file")
        self.form.has_file = self.form.has_file or is_file
        self._name = None if is_file else name
        self._text.clear()

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            self.form.file.write(data[start:end])
        else:
            _grow(self._text, data[start:end], _MOST_FIELD_BYTES)

    def _part_end(self) -> None:
        if self._name is None:
            self.form.file.flush()
            return
        try:
            text = self._text.decode("utf-8")
        except UnicodeDecodeError:
            raise invalid("A field is not text in UTF-8.") from None
        self.form.fields.setdefault(self._name.removesuffix("[]"), []).append(text)

    def _end(self) -> None:
        self.has_ended = True


def _grow(buffer: bytearray, more: bytes, most: int) -> None:
    if len(buffer) + len(more) > most:
        raise invalid(f"A field or header of the form is larger than {most:,} bytes.")
    buffer += more
