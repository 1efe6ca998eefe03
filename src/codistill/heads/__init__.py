"""Task heads: networks on top of an encoder's tokens."""
