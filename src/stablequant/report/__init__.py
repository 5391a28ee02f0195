"""Reports: the summary in numbers, the model card, and one self-contained page."""
