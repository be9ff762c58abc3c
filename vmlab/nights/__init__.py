"""The file of a night, and what it means: which beds, what is done on each, and how much of it at once. Pure."""
