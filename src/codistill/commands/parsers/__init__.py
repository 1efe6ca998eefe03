"""Parsers of the commands: they import nothing heavy, so that mistakes are answered at once."""
