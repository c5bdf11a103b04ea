"""Is the simulated line honest? Measured from outside, through real sockets, and beside the kernel's own `tc netem`."""
