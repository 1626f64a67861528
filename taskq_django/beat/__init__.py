"""The service that ticks schedules. Any number of beats may run: each slot is enqueued once."""
