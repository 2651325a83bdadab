"""The parts a decoder is composed of: how a weight is asked for, a matrix product, a norm, the rotary angles."""
