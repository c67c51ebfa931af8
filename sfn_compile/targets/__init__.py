"""What a target is to the compiler, and the exact rewriting of a Program for one."""
