# A name server at 127.0.0.1:53 that answers every question with 192.0.2.7, over UDP and TCP.
import socket, struct, threading


def answer(query):
    # The question ends behind the name's zero byte, its type and its class.
    question = query[12 : query.index(b"\0", 12) + 5]
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7])
    return query[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + question + record


def streams(listener):
    while True:
        stream, _ = listener.accept()
        with stream, stream.makefile("rwb") as file:
            length = struct.unpack("!H", file.read(2))[0]
            text = answer(file.read(length))
            file.write(struct.pack("!H", len(text)) + text)


listener = socket.create_server(("127.0.0.1", 53))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 53))
threading.Thread(target=streams, args=[listener], daemon=True).start()
print("listens", flush=True)
while True:
    query, peer = datagrams.recvfrom(4096)
    datagrams.sendto(answer(query), peer)
