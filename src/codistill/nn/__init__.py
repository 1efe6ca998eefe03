"""Network parts: one copy of each, shared by encoders, projectors, decoders and heads."""
