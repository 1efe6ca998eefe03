"""The version of the installed package, derived from git's tags when it is built (setuptools-scm)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("codistill")
except PackageNotFoundError:  # run from a folder of sources that was never installed
    __version__ = "0+unknown"
