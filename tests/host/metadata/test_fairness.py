"""Guests are answered one after the other, however many connections one of them has waiting."""

import socket
import threading

from stead_agent.metadata import server
from stead_agent.metadata.http import Request, Response
from stead_agent.metadata.server import Peer, Server

FLOODING, NEIGHBOUR = "127.0.0.2", "127.0.0.3"
MANY = 40


def asks(source: str, port: int) -> socket.socket:
    """A connection from this address on which a question waits for its answer."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return sock


def test_a_neighbour_does_not_wait_for_all_that_another_asked_before() -> None:
    answered: list[str] = []

    def answer(peer: Peer, request: Request) -> Response:
        answered.append(peer[1])
        return Response(200, b"well")

    serving = Server(lambda peer: peer[1], answer)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2 * MANY)
    listener.setblocking(False)
    port = listener.getsockname()[1]
    serving.listen("vpc-a", listener)
    is_busy, go_on = threading.Event(), threading.Event()

    def hold_up() -> None:
        is_busy.set()
        assert go_on.wait(60)

    holding = threading.Thread(target=serving._order, args=(hold_up,))
    holding.start()
    asking = []
    try:
        assert is_busy.wait(60)
        asking = [asks(FLOODING, port) for _ in range(MANY)]
        asking.append(asks(NEIGHBOUR, port))
        go_on.set()
        assert all(sock.recv(100).startswith(b"HTTP/1.1 200 OK") for sock in asking)
    finally:
        go_on.set()
        holding.join()
        for sock in asking:
            sock.close()
        serving.close()
    assert len(answered) == MANY + 1
    assert answered.index(NEIGHBOUR) < 4


def test_a_flooding_guest_gets_no_tokens_while_it_is_shut_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listener = server._Listener("vpc-a", sock)
        flooding, slow = server._Share(), server._Share()
        for _ in range(server.BURST + 1):
            flooding.pacing.wait(100.0)
        Server._shut_out(listener, FLOODING, flooding, 100.0)
        Server._shut_out(listener, NEIGHBOUR, slow, 100.0)
        assert set(listener.shut_out) == {FLOODING, NEIGHBOUR}
        assert flooding.pacing.next_in(100.0) == server.SHUT_OUT_SECONDS
        assert slow.pacing.next_in(100.0) == 0, "one that only has many connections open"
