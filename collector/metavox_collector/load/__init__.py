"""Load: many senders at once for a sandbox, and what they were answered."""
