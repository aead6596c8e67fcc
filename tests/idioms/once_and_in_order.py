log = []


def f(x):
    log.append(x)
    return x


l = [0, 0]
l[f(1)] += f(5)
l[f(0)] -= f(2)
print(l, log)
