"""The only code that talks to libvirt and reads the host's own tables."""
