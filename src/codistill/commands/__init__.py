"""The commands: one file each, `main(argv) -> exit code`."""
