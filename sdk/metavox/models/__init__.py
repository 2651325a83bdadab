"""The model families: a shared decoder, and a small file a family."""
