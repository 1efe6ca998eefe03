"""The demo: a student distilled live from specialists that ship, and all that one encoder says, as a page."""
