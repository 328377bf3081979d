"""The network, its preparation for a device, and the model file."""
