"""vmlab's commands, forked off one process that has imported it: emulated, a command imports longer than it works.

Without words it is that process; with words, the command: standard input, output and error are its own, the environment
is the process's. Who asks and ends takes the command with it. It runs in the lab host, and needs nothing of the tests.
"""

import os
import select
import signal
import socket
import sys
from importlib import import_module

DOOR = "/run/vmlab-forks"
ROOMS = ("cli", "lab", "topology", "workloads")


def serve() -> None:
    """Answer for ever, each in a process of its own."""
    import pkgutil  # noqa: PLC0415  who asks waits for no more than he needs

    for room in ROOMS:
        package = import_module(f"vmlab.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{DOOR}.new")
        door.listen()
        os.rename(f"{DOOR}.new", DOOR)  # noqa: PTH104  who finds it is answered
        while True:
            way, _ = door.accept()
            if os.fork() == 0:
                door.close()
                answer(way)
            way.close()
            reap()


def reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def answer(way: socket.socket) -> None:
    """Run the command, and tell its status."""
    told, streams, _, _ = socket.recv_fds(way, 1 << 16, 3)
    command = os.fork()
    if command == 0:
        way.close()
        run(told.decode().split("\0"), streams)
    os.setpgid(command, command)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(command)
    if way in select.select([way, ended], [], [])[0]:  # who asked has ended
        os.killpg(command, signal.SIGKILL)
    _, status = os.waitpid(command, 0)
    way.sendall(str(os.waitstatus_to_exitcode(status) % 256).encode())
    os._exit(0)


def run(words: list[str], streams: list[int]) -> None:
    os.setpgid(0, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv = ["vmlab", *words]
    import_module("vmlab.cli.app").main()


def ask(words: list[str]) -> int:
    with socket.socket(socket.AF_UNIX) as way:
        way.connect(DOOR)
        socket.send_fds(way, ["\0".join(words).encode()], [0, 1, 2])
        return int(way.recv(16))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(ask(sys.argv[1:]))
    serve()
