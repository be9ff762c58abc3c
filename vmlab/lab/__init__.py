"""What vmlab does: each operation composes decisions, libvirt and guests. Faces call these and print their values."""
