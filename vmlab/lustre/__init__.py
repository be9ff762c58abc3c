"""LNet and Lustre as pure text and arithmetic; nothing here runs a command."""
