"""What vmlab does: each operation composes decisions, libvirt and guests. Faces call these and print their values.

One room for what a reader looks for, one file for an operation; imports go from a room to those below it only:

    hosts                 check, sriov, gc
    measuring | images    run, workloads, deeds      | build, import, remove
    beds                  plan, up, down, status, power, execute, export
    filesystems           lnet, format, mount, failover, recovery
    ground                the bed at hand, its guests, locks, stages and progress
"""
