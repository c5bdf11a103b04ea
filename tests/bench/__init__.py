"""What the gateway adds to the bare SDK: latency, CPU and memory. `python -m tests.bench --help`."""
