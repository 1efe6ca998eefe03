"""Networks as files of other runtimes: an encoder or a fitted head in, a checked ONNX or PyTorch file out."""
