"""InMARS: learning classes from superpixels without a label, step by step."""
