"""Scores against labels: what is compared, how clusters find their classes, and the report."""
