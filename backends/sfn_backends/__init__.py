"""The back ends that ship with sfnc, one package each, loaded through the entry-point group ``sfnc.backends``."""
