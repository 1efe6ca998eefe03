"""Analysis of features and runs: PCA, explained variance, correlation of losses, attention."""
