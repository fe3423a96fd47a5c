# Asks 127.127.0.1 for a name, by bytes (RFC 1035): ask.py udp|tcp NAME TYPE
import json, socket, struct, sys

transport, name, kind = sys.argv[1:4]
KINDS = {"A": 1, "PTR": 12, "AAAA": 28, "SRV": 33}
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
query = struct.pack("!6H", 4711, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", KINDS[kind], 1)

if transport == "udp":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    s.connect(("127.127.0.1", 53))
    s.send(query)
    answer = s.recv(4096)
else:
    s = socket.create_connection(("127.127.0.1", 53), 30)
    s.sendall(struct.pack("!H", len(query)) + query)
    stream = s.makefile("rb")
    answer = stream.read(struct.unpack("!H", stream.read(2))[0])


def read_name(at):
    parts = []
    end = None
    while answer[at]:
        if answer[at] >= 0xC0:
            end = end or at + 2
            at = struct.unpack("!H", answer[at : at + 2])[0] & 0x3FFF
            continue
        parts.append(answer[at + 1 : at + 1 + answer[at]].decode())
        at += 1 + answer[at]
    return ".".join(parts), end or at + 1


number, flags, questions, answers, _, _ = struct.unpack("!6H", answer[:12])
assert number == 4711 and flags & 0x8000, answer
at = 12
for _ in range(questions):
    _, at = read_name(at)
    at += 4
texts = []
for _ in range(answers):
    _, at = read_name(at)
    what, _, _, length = struct.unpack("!2HIH", answer[at : at + 10])
    at += 10
    if what == 1:
        texts.append("A " + ".".join(str(byte) for byte in answer[at : at + 4]))
    elif what == 12:
        texts.append("PTR " + read_name(at)[0])
    elif what == 33:
        port = struct.unpack("!H", answer[at + 4 : at + 6])[0]
        texts.append("SRV %d %s" % (port, read_name(at + 6)[0]))
    else:
        texts.append("TYPE%d" % what)
    at += length
print(json.dumps({"rcode": flags & 15, "answers": texts}))
