"""Files of a pack -> what is wrong with them, a line each; without the formats' own tools, and offline."""
