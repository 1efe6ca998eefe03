"""Co-distillation: targets, losses, data sharing and teacher dropping as pure functions, and the objective."""
