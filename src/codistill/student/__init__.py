"""The student: one encoder, one projector per teacher, and what turns a projection back into a teacher's space."""
