"""Computes one block of output as a pure function of scene, model and settings."""
