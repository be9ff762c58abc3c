"""Pictures and tables of what the layers below know."""
