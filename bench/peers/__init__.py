"""Other ways to int8 than ours, each made of the same model and speech."""
