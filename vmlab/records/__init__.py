"""What is kept of what happened, and how it is read again: a run. The content of a file, without the file."""
