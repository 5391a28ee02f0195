"""Model families: from a Hugging Face checkpoint to a graph of named operations, and from its outputs to text."""
