"""Co-distillation: targets, losses, sharing and dropping as pure maths, and the objective that joins them."""
