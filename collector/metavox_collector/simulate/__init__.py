"""A labelled synthetic fleet that goes through the real anonymizer and the real endpoint."""
