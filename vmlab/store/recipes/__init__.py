"""What images are made of: a folder each with lists and files, and the formats that building one needs."""
