"""Extract dense features in bulk: any source and encoder, half-precision tokens in shards on disk, and their reader."""
