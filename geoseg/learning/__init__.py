"""InMARS: learn classes from superpixels, step by step, without labels."""
