"""Task queues side by side on one machine; see ``python -m tests.benchmarks.peers --help``."""
