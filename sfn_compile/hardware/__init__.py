"""Does a network fit a chip: chips as data, what layers ask of cores, how they are split, how long a step takes."""
