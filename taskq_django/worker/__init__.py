"""The worker. The supervisor starts processes; in each, one loop claims and settles, and a pool runs the jobs."""
