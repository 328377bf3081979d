"""The network, the model file that carries it, and the network made ready for a device."""
