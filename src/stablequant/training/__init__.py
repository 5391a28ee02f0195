"""Fine-tuning for a scheme: straight-through rounding, losses, the loop and its state."""
