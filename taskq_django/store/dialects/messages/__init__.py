"""The statements for jobs that an engine carries: what came of them, and the rows that stand in for them."""
