from django.contrib import admin
from django.urls import include, path

from tests.support.bars import of_jobs

urlpatterns = [
    path("admin/", admin.site.urls),
    path("tasks/", include("taskq_django.urls")),
    path("bars/<path:ids>/", of_jobs, name="bars"),
]
