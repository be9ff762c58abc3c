"""Which node goes where on the hosts, and why not."""
