"""Helpers shared by the tests of several packages: generated inputs, reference implementations, ways to call geoseg."""
