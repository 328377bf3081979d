"""The fault harness: runs geoseg commands that crash or fail on purpose, and judges what they leave behind.

README.md explains how it works and how to write a case.
"""
