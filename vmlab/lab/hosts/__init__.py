"""Hosts, whatever bed is on them: check, SR-IOV, and what belongs to no bed."""
