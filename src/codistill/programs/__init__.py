"""Run exported networks: files with a graph and its weights, which `codistill.deploy` writes."""
