"""The search: which layers are sensitive (stage 1), and how much of their activations to clip (stage 2)."""
