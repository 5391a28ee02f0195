"""From the outputs of a network to answers: token ids and what they mean, whatever runs the network."""
