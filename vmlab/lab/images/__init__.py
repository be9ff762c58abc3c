"""Images: list, build, import, remove."""
