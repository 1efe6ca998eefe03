"""Compare images with text: embedding files, the space that both share, retrieval, zero-shot segmentation."""
