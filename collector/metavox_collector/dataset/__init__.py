"""Release -> dataset: one declaration of the columns, and one emitter for each format."""
