"""Read the lines of a UTF-8 text file from an editor, a shell or a spreadsheet: any line ends, no byte-order marks."""

from pathlib import Path

from codistill.errors import DataError

_MARK = "\ufeff"


def read_lines(path: Path) -> list[str]:
    """Read all lines, including empty ones, so that indices are line numbers; without line ends and byte-order marks.

    Only line feeds (and carriage returns before them) end a line: a name may contain any other separator.

    Raises:
        DataError: if the file is missing, not a regular file, or not text in UTF-8.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(
                f"{path}: is {'a folder' if path.is_dir() else 'no regular file'}, not a text file"
            )
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return lines_of(data, path)


def lines_of(data: bytes, path: object) -> list[str]:
    """Split the bytes of a text file into lines; `path` names it in errors.

    Raises:
        DataError: if they are not text in UTF-8.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"{path}: not a text list in UTF-8 but in UTF-16 (as PowerShell writes it); save it as UTF-8"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text list in UTF-8 ({error}); save it as UTF-8") from None
    if "\0" in text:
        raise DataError(f"{path}: not a text list: it holds zero bytes")
    if "\n" not in text:
        text = text.replace("\r", "\n")  # old Macintosh
    lines = [line.rstrip("\r").replace(_MARK, "") for line in text.split("\n")]
    return lines[:-1] if lines and not lines[-1] else lines
