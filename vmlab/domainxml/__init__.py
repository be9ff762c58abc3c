"""Domain XML: built from a complete template with lxml, and read back. Never text."""
