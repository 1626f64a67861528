"""All SQL of ours, by database vendor."""
