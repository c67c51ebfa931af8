"""The float network and the spiking one side by side, on one machine or on many."""
