//! Datagrams.

use std::net::Ipv4Addr;
use std::thread;

use model::{Port, Protocol, Transport};

use crate::bed::{Bed, service, until, with_namespaces};

const PORT: u16 = 5353;

#[test]
fn each_sender_has_a_session_of_its_own_and_first_datagrams_are_held() {
    with_namespaces(|| {
        let mut echo = service("echo", 1, Protocol::Tcp);
        echo.expose.insert(Port {
            number: PORT,
            transport: Transport::Udp,
        });
        let bed = Bed::new(vec![echo, service("client", 1, Protocol::Tcp)]);
        let client = bed.instance("client", 1);
        let address = (bed.address("echo").ip(), PORT);
        let senders = [0; 3].map(|_| client.datagrams(Ipv4Addr::UNSPECIFIED, 0));
        for (number, sender) in senders.iter().enumerate() {
            sender.connect(address).unwrap();
            sender.send(&[number as u8]).unwrap();
        }
        for _ in &senders {
            assert_eq!(bed.woken().as_str(), "echo");
        }
        let instance = bed.instance("echo", 1);
        bed.ready(&[&instance]);
        until("all have entered", || bed.load("echo").in_flight == 3);
        let socket = instance.datagrams(Ipv4Addr::LOCALHOST, PORT);
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                buffer[length] = b'!';
                socket.send_to(&buffer[..=length], from).unwrap();
            }
        });
        for round in 0..3 {
            for (number, sender) in senders.iter().enumerate() {
                let mut answer = [0; 64];
                let length = sender.recv(&mut answer).unwrap();
                let wanted = if round == 0 {
                    vec![number as u8]
                } else {
                    vec![number as u8, round]
                };
                assert_eq!(answer[..length], [&wanted[..], b"!"].concat());
                sender.send(&[number as u8, round + 1]).unwrap();
            }
        }
        bed.ready(&[]);
        until("the sessions have ended", || {
            bed.load("echo").in_flight == 0
        });
    });
}
