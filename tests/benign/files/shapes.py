"""A module of the user's own, beside the data."""


def area(width, height):
    return width * height
