"""What tasks with a value for every pixel share: stored features, the cached and the published fit, windows."""
