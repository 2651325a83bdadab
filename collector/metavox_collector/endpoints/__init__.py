"""What the service answers: a module for each endpoint, and what they have in common of taking and refusing."""
