"""sfnc: trained networks to integer spiking networks that answer in one timestep, proved equal on every target."""

from __future__ import annotations

__version__ = "0.1.0"
