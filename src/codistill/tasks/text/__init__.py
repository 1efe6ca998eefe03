"""Images beside text: embeddings files, the space that they share, retrieval, zero-shot segmentation."""
