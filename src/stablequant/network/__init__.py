"""A network as a list of operations, and how it runs. Nothing of a family, nothing of transformers."""
