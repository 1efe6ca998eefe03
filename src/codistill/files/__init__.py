"""What every room needs of the file system: stamps of files that something was derived from, listings."""
