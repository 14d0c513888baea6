//! The load against a small server in this process.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::*;

mod tls;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Answers every request on a listener after `delay`, and counts the answers.
fn serve(listener: TcpListener, delay: Duration, answers: &Arc<AtomicU64>) {
    let answers = Arc::clone(answers);
    let answer_all = move |mut stream: TcpStream, answers: Arc<AtomicU64>| {
        let (mut request, mut byte) = (Vec::new(), [0]);
        while matches!(stream.read(&mut byte), Ok(1)) {
            request.push(byte[0]);
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                answers.fetch_add(1, Ordering::SeqCst);
                if stream.write_all(ANSWER).is_err() {
                    return;
                }
            }
        }
    };
    thread::spawn(move || {
        thread::sleep(delay);
        for stream in listener.incoming().map_while(Result::ok) {
            let answers = Arc::clone(&answers);
            thread::spawn(move || answer_all(stream, answers));
        }
    });
}

fn load(address: SocketAddr, connections: u32) -> Load {
    Load {
        address,
        protocol: BenchProtocol::Http1,
        request: b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        length: 0,
        shape: Shape::KeepAlive,
        tls: None,
        groups: TlsGroups::Browser,
        connections,
        idle: 0,
        client: ClientWait::Awake,
        warm_up: Duration::from_millis(200),
        time: Duration::from_millis(50),
    }
}

#[test]
fn the_warm_up_is_not_counted() {
    const CONNECTIONS: u32 = 2;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let load = load(listener.local_addr().unwrap(), CONNECTIONS);
    let answers = Arc::new(AtomicU64::new(0));
    serve(listener, Duration::ZERO, &answers);
    let mut marks = Vec::new();
    let result = load.run(DriverKind::Epoll, &mut || {
        marks.push(answers.load(Ordering::SeqCst));
        Ok(())
    });
    let result = result.unwrap();
    // Answers that were on their way at the first mark are counted.
    let most = marks[1] - marks[0] + u64::from(CONNECTIONS);
    assert!((1..=most).contains(&result.requests), "{} of {marks:?}", result.requests);
    assert_eq!(result.latency.len(), result.requests);
}

/// A trial is too short for an answer, as it may be on a busy machine.
#[test]
fn a_trial_goes_on_until_there_is_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let short = Duration::from_nanos(1);
    let load = Load { warm_up: short, time: short, ..load(listener.local_addr().unwrap(), 1) };
    serve(listener, Duration::from_millis(100), &Arc::default());
    let result = load.run(DriverKind::Epoll, &mut || Ok(())).unwrap();
    assert!(result.requests >= 1);
}

/// Begins a load and runs it until there is an answer; returns the longest latency.
struct FirstLatency<'a>(&'a Load);

impl Visitor for FirstLatency<'_> {
    type Out = Duration;

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> Duration {
        let driver = open(&self.0.limits()).unwrap();
        let mut client = Client::begin(self.0, driver).unwrap();
        client.run(Duration::ZERO).unwrap();
        Duration::from_nanos(client.latency.max())
    }
}

/// The queue of the listener is full, so the kernel drops the first attempt to connect, and the
/// client repeats it a second later.
#[test]
fn the_time_to_connect_is_a_part_of_the_latency() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    serve(listener, Duration::from_millis(300), &Arc::default());
    let latency = DriverKind::Epoll.visit(FirstLatency(&load(address, 1)));
    assert!(latency > Duration::from_millis(200), "{latency:?}");
}

/// Both kinds of clients count the same answers; only one of them spends its waits.
#[test]
fn the_waits_of_a_client_that_stays_awake_are_not_its_work() {
    for client in [ClientWait::Awake, ClientWait::Asleep] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let load = Load { client, ..load(listener.local_addr().unwrap(), 1) };
        serve(listener, Duration::ZERO, &Arc::default());
        let result = load.run(DriverKind::Epoll, &mut || Ok(())).unwrap();
        assert!(result.requests >= 1);
        // The time is that of the process, so other tests may have all CPUs of the machine.
        let cpus = thread::available_parallelism().unwrap().get() as u32;
        let LoadResult { client_cpu, elapsed, .. } = result;
        assert!(client_cpu <= elapsed * (cpus + 1), "{client:?}: {client_cpu:?} of {elapsed:?}");
    }
}

#[test]
fn idle_connections_have_an_answer_and_stay_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let load = Load { idle: 300, ..load(listener.local_addr().unwrap(), 1) };
    let answers = Arc::new(AtomicU64::new(0));
    serve(listener, Duration::ZERO, &answers);
    let mut at_marks = Vec::new();
    load.run(DriverKind::Epoll, &mut || {
        at_marks.push(answers.load(Ordering::SeqCst));
        Ok(())
    })
    .unwrap();
    assert!(at_marks[0] > 300, "{at_marks:?}");
}

#[test]
fn idle_connections_that_are_refused_are_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let load = Load { idle: 3, ..load(listener.local_addr().unwrap(), 1) };
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(drop));
    let error = load.run(DriverKind::Epoll, &mut || Ok(())).unwrap_err().to_string();
    assert!(error.contains("--idle"), "{error}");
}
