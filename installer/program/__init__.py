"""The program's own place on a host, how a newer one takes over, and how carried tools are started."""
