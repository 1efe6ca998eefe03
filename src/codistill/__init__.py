"""codistill: distil one vision encoder from several unlike teachers, load the published ones, and use it."""

from codistill.version import __version__

__all__ = ["__version__"]
