"""How well a student predicts its teachers on held-out images, beside baselines that know no student."""
