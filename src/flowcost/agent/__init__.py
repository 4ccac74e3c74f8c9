"""Bytes leave the kernel: counted in eBPF, drained, labelled, spooled."""
