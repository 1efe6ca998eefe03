"""What dense tasks (a value for every pixel) share: stored features, cached and published fits, sliding windows."""
