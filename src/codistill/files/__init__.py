"""File handling for all packages: atomic writing, listings, stamps of inputs, configs in YAML."""
