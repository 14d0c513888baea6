//! `ringd connect` as a process: against plain listeners, and against `ringd echo`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::ports::free_address;
use crate::process::{End, Server, end_of, kinds, ringd};
use fastrand::Rng;
use socket2::SockRef;

/// The longest that anything that must happen may take.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The client, with all its standard streams piped to the test.
fn connect(to: &str) -> Child {
    connect_with(to, |_| {})
}

fn connect_with(to: &str, change: impl FnOnce(&mut Command)) -> Child {
    let mut command = ringd();
    command.args(["connect", to]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command);
    command.spawn().unwrap()
}

/// A client and its peer, connected.
fn connected() -> (Child, TcpStream) {
    connected_with(|_| {})
}

fn connected_with(change: impl FnOnce(&mut Command)) -> (Child, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect_with(&listener.local_addr().unwrap().to_string(), change);
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
    (client, peer)
}

/// Waits for the end of a client; its standard input stays open.
fn end(mut client: Child) -> End {
    let deadline = Instant::now() + WAIT_MAX;
    while client.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            client.kill().unwrap();
            client.wait().unwrap();
            panic!("the client does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
    let code = client.wait().unwrap().code();
    let text = |stream: Option<&mut dyn Read>| {
        let mut text = String::new();
        stream.map(|stream| stream.read_to_string(&mut text).unwrap());
        text
    };
    let output = text(client.stdout.as_mut().map(|stream| stream as &mut dyn Read));
    let errors = text(client.stderr.as_mut().map(|stream| stream as &mut dyn Read));
    End { code, output, errors }
}

#[track_caller]
fn assert_orderly(end: &End, output: &str) {
    let End { code, output: said, errors } = end;
    assert_eq!((*code, said.as_str(), errors.as_str()), (Some(0), output, ""));
}

#[test]
fn lines_and_answers_pass_at_once() {
    let (mut client, peer) = connected();
    let mut stdin = client.stdin.take().unwrap();
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    let mut heard = BufReader::new(peer.try_clone().unwrap());
    for question in ["one\n", "two\n", "three\n"] {
        stdin.write_all(question.as_bytes()).unwrap();
        let mut line = String::new();
        heard.read_line(&mut line).unwrap();
        assert_eq!(line, question);
        // Output without the end of a line is shown, too.
        (&peer).write_all(b"what?").unwrap();
        let mut answer = [0; 5];
        stdout.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"what?");
    }
    drop((peer, heard));
    assert_orderly(&end(client), "");
}

#[test]
fn the_end_of_input_is_sent_and_the_answer_still_comes() {
    let (mut client, mut peer) = connected();
    client.stdin.take().unwrap().write_all(b"question").unwrap();
    let mut heard = String::new();
    peer.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "question");
    thread::sleep(Duration::from_millis(200));
    peer.write_all(b"a late answer").unwrap();
    drop(peer);
    assert_orderly(&end(client), "a late answer");
}

/// As at a terminal without input.
#[test]
fn a_peer_that_ends_first_ends_the_program() {
    let (mut client, mut peer) = connected();
    let stdin = client.stdin.take();
    peer.write_all(b"goodbye").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_orderly(&end(client), "goodbye");
    drop(stdin);
}

/// The peer does not read, so the client is blocked in a write when the end comes.
#[test]
fn a_peer_that_ends_while_we_send_ends_the_program() {
    let (mut client, mut peer) = connected();
    let mut stdin = client.stdin.take().unwrap();
    let typing = thread::spawn(move || while stdin.write_all(&[b'x'; 60_000]).is_ok() {});
    thread::sleep(Duration::from_millis(500));
    peer.write_all(b"enough").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_orderly(&end(client), "enough");
    typing.join().unwrap();
}

#[test]
fn every_byte_passes_both_ways() {
    let (mut client, mut peer) = connected();
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let (mut stdin, sent) = (client.stdin.take().unwrap(), all.clone());
    let typing = thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).unwrap();
    assert!(heard == all);
    typing.join().unwrap();
    let answering = thread::spawn(move || peer.write_all(&heard).unwrap());
    let mut shown = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut shown).unwrap();
    assert!(shown == all);
    answering.join().unwrap();
    assert_orderly(&end(client), "");
}

#[test]
fn a_closed_output_ends_the_program_quietly() {
    let (mut client, mut peer) = connected();
    let stdin = client.stdin.take();
    drop(client.stdout.take());
    let answering = thread::spawn(move || while peer.write_all(&[b'x'; 1000]).is_ok() {});
    assert_orderly(&end(client), "");
    answering.join().unwrap();
    drop(stdin);
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (client, mut peer) = connected_with(|command| {
        command.stdout(full);
    });
    peer.write_all(b"something").unwrap();
    end(client).assert_failed(1, &["standard output", "redirected"]);
}

#[test]
fn an_input_that_cannot_be_read_is_an_error() {
    let folder = std::fs::File::open("/").unwrap();
    let (client, peer) = connected_with(|command| {
        command.stdin(folder);
    });
    end(client).assert_failed(1, &["standard input", "directory"]);
    drop(peer);
}

#[test]
fn a_reset_is_an_error_also_while_sending() {
    for sends in [false, true] {
        for _ in 0..20 {
            let (mut client, mut peer) = connected();
            let mut stdin = client.stdin.take().unwrap();
            let typing = thread::spawn(move || {
                while sends && stdin.write_all(&[b'x'; 1000]).is_ok() {}
                stdin
            });
            if sends {
                peer.read_exact(&mut [0; 10_000]).unwrap();
            }
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            end(client).assert_failed(1, &["reset by the peer", "log"]);
            drop(typing.join().unwrap());
        }
    }
}

#[test]
fn a_port_without_a_server_refuses() {
    let free = free_address().to_string();
    let end = end(connect(&free));
    end.assert_failed(1, &[&free, "refused", "start the server"]);
}

#[test]
fn names_are_resolved_and_every_address_is_tried() {
    // This name usually has two addresses; only one of them has a server.
    let listener = TcpListener::bind(free_address()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = connect(&format!("localhost:{port}"));
    client.stdin.take().unwrap().write_all(b"here").unwrap();
    let mut heard = String::new();
    listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "here");
    assert_orderly(&end(client), "");
}

#[test]
fn a_name_that_does_not_resolve() {
    // This name never resolves (RFC 6761).
    let client = connect("no-such-host.invalid:80");
    end(client).assert_failed(1, &["no-such-host.invalid:80 has no address", "check the name"]);
}

#[test]
fn a_wrong_command_line_gets_a_precise_error() {
    let cases: [(&[&str], &str); 4] = [
        (&["connect"], "ADDR:PORT"),
        (&["connect", "localhost"], "localhost:7891"),
        (&["connect", "127.0.0.1:http"], "127.0.0.1:http"),
        (&["connect", "127.0.0.1:1", "--driver", "epoll"], "--driver"),
    ];
    for (arguments, word) in cases {
        let end = end_of(ringd().args(arguments));
        assert_eq!((end.code, end.output.as_str()), (Some(2), ""), "{arguments:?}: {end:?}");
        end.assert_names(&[word, "--help"]);
    }
}

/// Both programs together, on every driver: the echo returns the input.
#[test]
fn an_echo_answers_what_is_typed() {
    for kind in kinds() {
        let server = Server::start(ringd().args([
            "echo",
            "--listen",
            "127.0.0.1:0",
            "--driver",
            kind.name(),
        ]));
        let mut random = Rng::with_seed(6);
        let typed: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
        assert!(type_through(server.address(), &typed, &mut random) == typed, "{kind}");
        server.signal(libc::SIGTERM);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{kind}: {end:?}");
    }
}

/// The client's output for this input, which is typed in random pieces.
fn type_through(address: SocketAddr, typed: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut client = connect(&address.to_string());
    let mut stdin = client.stdin.take().unwrap();
    let mut stdout = client.stdout.take().unwrap();
    let showing = thread::spawn(move || {
        let mut shown = Vec::new();
        stdout.read_to_end(&mut shown).unwrap();
        shown
    });
    let mut rest = typed;
    while !rest.is_empty() {
        let most = [1, 100, 10_000, 100_000][random.usize(..4)];
        let (piece, tail) = rest.split_at(random.usize(1..=most).min(rest.len()));
        stdin.write_all(piece).unwrap();
        rest = tail;
    }
    drop(stdin);
    let shown = showing.join().unwrap();
    assert_orderly(&end(client), "");
    shown
}
