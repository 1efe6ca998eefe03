"""Files for every package: atomic writing, listings, stamps of inputs, configs in YAML."""
