"""Why a number of signal to noise is none, in words: reports hold them, and what reads reports loads no NumPy."""

NO_ERROR = "no error"
NO_SIGNAL = "the float network's numbers do not vary over the samples"
NO_RANGE = "squares leave the range of float64"
EXACT_DB = 120.0  # the rounding of float32 sums, on the float network's side: no error of the integers
