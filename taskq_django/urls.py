"""``path("tasks/", include("taskq_django.urls"))``: the addresses of what ``{% taskq_progress %}`` shows."""

from __future__ import annotations

from django.urls import path

from .pages import progress

app_name = "taskq_django"
urlpatterns = [
    path("progress/<str:token>/", progress.progress, name="progress"),
    path("progress/<str:token>/bar/", progress.progress_bar, name="progress_bar"),
    path("progress/<str:token>/json/", progress.progress_json, name="progress_json"),
]
