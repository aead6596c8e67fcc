"""What runs inside the wall, the same for every backend. Standard library only; started as `python -I`."""
