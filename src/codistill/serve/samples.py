"""Sample pictures and pairs that ship with the package.

They are rendered by `codistill world build`, so that the package contains no one's photographs.
"""

import json
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from codistill.errors import unknown_name
from codistill.serve.messages import MessageError

_FOLDER = resources.files("codistill.serve") / "samples"


@dataclass(frozen=True)
class Sample:
    """One entry of the page's list: a picture, or a pair of one place.

    Attributes:
        title: what it shows.
        pictures: names of one or two pictures.
    """

    title: str
    pictures: tuple[str, ...]


class Samples:
    """All samples, held in memory, so that no path is made from a name that a client sends."""

    def __init__(self) -> None:
        listed = json.loads((_FOLDER / "samples.json").read_text(encoding="utf-8"))
        self.entries = tuple(Sample(one["title"], tuple(one["pictures"])) for one in listed)
        names = dict.fromkeys(name for entry in self.entries for name in entry.pictures)
        self._data = {name: (_FOLDER / f"{name}.jpg").read_bytes() for name in names}

    def data(self, name: str) -> bytes:
        """The encoded picture of that name.

        Raises:
            MessageError: for an unknown name.
        """
        if name not in self._data:
            raise MessageError(unknown_name("sample", name, self._data))
        return self._data[name]

    def about(self) -> list[dict[str, Any]]:
        """The list of samples for the page."""
        return [asdict(entry) for entry in self.entries]
