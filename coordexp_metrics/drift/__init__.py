"""Names and meanings drift in code, configurations and catalogues: stop it where it starts."""
