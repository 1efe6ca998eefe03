"""The student: one encoder, one projector per teacher, and statistics that map predictions to a teacher's space."""
