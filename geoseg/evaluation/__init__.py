"""Scores against labels: what is compared, how clusters are matched to classes, and the report."""
