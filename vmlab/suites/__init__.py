"""Lustre's own tests as pure text: what their framework is told, and what it and the kernels say; nothing runs here.

Read in lustre/tests of 2.17.57 (test-framework.sh, yaml.sh, auster, cfg/*.sh).
"""
