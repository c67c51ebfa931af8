"""What the host computes in floats: encoding, decoding, and the end of a model that is no network."""
