"""Tasks: where encoder, head, data and metric meet. One folder each, with the same files."""
