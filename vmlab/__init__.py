"""Virtual test beds for the Lustre parallel file system on KVM and libvirt."""

__version__ = "0.1.0"
