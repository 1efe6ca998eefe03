"""Tasks: each combines an encoder, a head, data and a metric. One folder per task, with the same files in each."""
