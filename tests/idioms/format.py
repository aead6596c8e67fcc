print("{:>5}|{0}".replace("{0}", "{}").format(1, 2), "{a[0]} {b.real}".format(a=[7], b=2), str.format("{}", 1))
