print("{x}-{y}".format_map({"x": 1, "y": 2}))
