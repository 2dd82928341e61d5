"""The pictures of a request: its body as it is, or the parts called "photo" of a form, in memory."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tench.serve.refusals import Refusal

PART = "photo"
"""What the parts of a form must be called."""


@dataclass
class Upload:
    """One picture's file, not looked at yet; `name` is what the sender calls it; None: nothing."""

    name: str | None
    data: bytes | bytearray


def uploads(content_type: str, body: bytes, most: int) -> list[Upload]:
    """The pictures of a request, at least one and at most `most`. Raises Refusal.

    A body that does not say it is a form is one picture, whatever it says it is: that is decided by its content.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return [Upload(None, body)]
    boundary = options.get(b"boundary")
    if not boundary:
        raise _bad("it has no boundary")
    found = _parsed(boundary, body, most)
    if not found:
        raise _bad(f'it has no file part called "{PART}"')
    return found


def _parsed(boundary: bytes, body: bytes, most: int) -> list[Upload]:
    # Starlette's own way puts every file of more than 1 MiB on the disk.
    form = _Form(most)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin,
                "on_header_field": form.header_name,
                "on_header_value": form.header_value,
                "on_header_end": form.header_end,
                "on_headers_finished": form.headers_finished,
                "on_part_data": form.data,
                "on_end": form.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise _bad(str(error).rstrip(".")) from None
    if not form.ended:
        raise _bad("it breaks off")
    return form.found


def _bad(reason: str) -> Refusal:
    return Refusal(400, "bad_form", f'The form cannot be read: {reason}. Send one or several file parts called "{PART}".')


@dataclass
class _Form:
    """What the parser tells."""

    most: int
    found: list[Upload] = field(default_factory=list)
    ended: bool = False
    name: bytes = b""
    value: bytes = b""
    disposition: bytes = b""

    def begin(self) -> None:
        if len(self.found) == self.most:
            raise Refusal(400, "too_many_photos", f"A request may have {self.most} pictures at most; send the others in another one.")
        self.disposition = b""

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        if self.name.lower() == b"content-disposition":
            self.disposition = self.value
        self.name = self.value = b""

    def headers_finished(self) -> None:
        _, options = parse_options_header(self.disposition)
        if options.get(b"name") != PART.encode():
            raise _bad(f'it has a part that is not called "{PART}"')
        name = options.get(b"filename")
        self.found.append(Upload(None if name is None else name.decode(errors="replace"), bytearray()))

    def data(self, data: bytes, start: int, end: int) -> None:
        self.found[-1].data += data[start:end]

    def end(self) -> None:
        self.ended = True
