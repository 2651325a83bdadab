"""Other libraries' own telemetry, and how each is switched off."""
