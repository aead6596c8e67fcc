"""Memory that two processes share by name."""

from multiprocessing import Process, shared_memory


def fill(name):
    block = shared_memory.SharedMemory(name=name)
    block.buf[:5] = b"hello"
    block.close()


if __name__ == "__main__":
    block = shared_memory.SharedMemory(create=True, size=1 << 20)
    other = Process(target=fill, args=(block.name,))
    other.start()
    other.join()
    print(bytes(block.buf[:5]), block.size)
    block.close()
    block.unlink()
    numbers = shared_memory.ShareableList([1, 2.5, "three"])
    numbers[0] += 1
    print(list(numbers))
    numbers.shm.close()
    numbers.shm.unlink()

# Prints:
# b'hello' 1048576
# [2, 2.5, 'three']
