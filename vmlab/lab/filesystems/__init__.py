"""LNet and Lustre in a bed's guests: format, mount, status, failover, recovery."""
