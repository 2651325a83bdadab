"""The question: how it is put at a terminal and in a notebook, and what an answer does."""
