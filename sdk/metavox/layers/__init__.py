"""The parts a decoder is composed of. Their parameters bear the names of the hub's checkpoints."""
