from abc import ABC, ABCMeta, abstractmethod
import abc


class A(ABC):
    @abstractmethod
    def f(self): ...


class B(A):
    def f(self):
        return 1


class C(metaclass=abc.ABCMeta):
    @abstractmethod
    def f(self): ...


print(B().f())
for K in (A, C):
    try:
        K()
    except TypeError:
        print("abstract")
