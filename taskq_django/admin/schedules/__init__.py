"""Schedules in the admin: the list, the form with its preview, and what may be done to them."""

from .admin import ScheduleAdmin

__all__ = ["ScheduleAdmin"]
