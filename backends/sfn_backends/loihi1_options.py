"""The options of the target ``loihi1``; ``sfnc compile --help`` reads this module alone."""

from sfn_compile.foundation.declaration import Option

OPTIONS = (
    Option(name="cores", default=128, lowest=1, highest=98304, help="Cores that may be used; a chip has 128."),
)  # fmt: skip
