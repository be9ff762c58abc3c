"""A guest's memory as QEMU's dump keeps it, read without the kernel's debug symbols; nothing runs here.

What the kernel tells of itself in VMCOREINFO is enough for its log. That is in a dump if the domain has `<vmcoreinfo/>`
and the guest has loaded qemu_fw_cfg.
"""
