"""The tables of an alias, always in Django's database: what is stored of a job, and how it is read and written."""
