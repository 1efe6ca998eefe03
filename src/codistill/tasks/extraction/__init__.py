"""Dense features in bulk: any source and encoder in, sharded half-precision tokens on disk out, and their reader."""
