"""Parsers of the commands. They import nothing heavy, so that errors in a command line are reported at once."""
