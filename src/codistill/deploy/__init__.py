"""Export networks to files for other runtimes: an encoder or a fitted head in, a checked ONNX or PyTorch file out."""
