"""Network layers and building blocks, shared by encoders, projectors, decoders and heads."""
