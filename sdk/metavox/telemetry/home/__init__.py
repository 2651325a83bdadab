"""The few files of a person on this machine, for that person alone, and the program's own switch."""
