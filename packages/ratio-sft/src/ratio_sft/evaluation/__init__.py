"""How well a model follows the ratio it is asked for: the command `evaluate`, and a check during training."""
