"""Processes that share a queue, a lock, a value, an event and a pipe."""

from multiprocessing import Array, Event, Lock, Pipe, Process, Queue, Value, cpu_count


def work(todo, done, lock, total, ready):
    ready.wait()
    for item in iter(todo.get, None):
        with lock:
            total.value += item
        done.put(item * item)


def talk(connection):
    connection.send({"got": connection.recv()})
    connection.close()


if __name__ == "__main__":
    todo, done, lock, total, ready = Queue(), Queue(), Lock(), Value("i", 0), Event()
    workers = [Process(target=work, args=(todo, done, lock, total, ready)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for item in [*range(10), None, None, None]:
        todo.put(item)
    ready.set()
    print(sorted(done.get() for _ in range(10)))
    for worker in workers:
        worker.join()
    print(total.value, [w.exitcode for w in workers], cpu_count() > 0)
    ours, theirs = Pipe()
    other = Process(target=talk, args=(theirs,))
    other.start()
    ours.send([1, 2])
    print(ours.recv(), list(Array("d", [1.5, 2])))
    other.join()

# Prints:
# [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]
# 45 [0, 0, 0] True
# {'got': [1, 2]} [1.5, 2.0]
