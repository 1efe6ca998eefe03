"""The commands of the command line: one file each, with a function `main(argv) -> exit code`."""
