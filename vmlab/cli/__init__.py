"""The command line. Each file holds a few commands; what they call is imported when they run, so that help is fast."""
