"""Running a function of a key over chains: in one program, on devices, in workers."""
