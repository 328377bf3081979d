"""The fault harness: commands of geoseg that crash, are killed and fail on purpose, and a judge of what they leave.

README.md says how it works and how a case is written.
"""
