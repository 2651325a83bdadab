"""Dataset -> files of a pack: one emitter for each format, a pure function that knows neither clock nor network."""
