"""What `pyproject.toml` cannot say: the description for package indexes, README.md with links that work there.

Pictures and links to files of the checkout become names of files, which the source distribution holds; everything else
is in `pyproject.toml`.
"""

import re
from pathlib import Path

from setuptools import setup

_PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?://)[^)]*\)\n*")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)#]+)[^)]*\)")


def portable(text: str) -> str:
    """A README whose links lead somewhere without the files beside it."""

    def named(link: re.Match[str]) -> str:
        return f"`{link[2]}`" if link[1] == link[2] else f"{link[1]} (`{link[2]}`)"

    return _LINK.sub(named, _PICTURE.sub("", text))


if __name__ in ("__main__", "setuptools.build_meta"):
    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    setup(long_description=portable(readme), long_description_content_type="text/markdown")
