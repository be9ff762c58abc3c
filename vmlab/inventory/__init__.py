"""What a host is made of and what is already taken of it, as values."""
