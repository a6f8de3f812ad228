"""Floor 5: the command line, one file a verb. Findings go to stdout, progress to stderr."""
