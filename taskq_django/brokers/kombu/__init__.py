"""What is reached by kombu: the only place that imports it, or redis."""
