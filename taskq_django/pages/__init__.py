"""Pages for the visitors of a project, beside the admin."""
