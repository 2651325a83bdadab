"""What an operator does to a collector from the command line, beside serving and closing."""
