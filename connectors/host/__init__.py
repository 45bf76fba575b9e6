"""The host itself: disks, open files, sockets, and who it is."""
