"""Apps that listen to the signals of taskq_django. Each is switched on by its line in INSTALLED_APPS."""
