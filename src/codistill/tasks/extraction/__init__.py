"""Dense features in bulk: any source and any encoder in, sharded half-precision tokens on disk out, and read again."""
