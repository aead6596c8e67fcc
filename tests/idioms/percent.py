print("%s %05.1f %(a)s".replace("%(a)s", "") % ("a", 2))
