//! The time of one op and its completion on every driver that works here:
//! `cargo bench --bench driver`.
//!
//! A single op is the worst case for a driver that submits ops in batches, because nothing is
//! shared with other ops. For `uring` and `epoll`, batches of ops are measured too, and answers
//! from memory beside those from files. `ringd bench` measures many connections.

use std::ffi::CString;
use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringd::driver::{
    Chain, Driver, DriverKind, DriverSelection, File, Limits, Links, Op, Outcome, SendEnd, Sock,
    Token, Visitor,
};

/// The size of a read from a file.
const READ: usize = 4096;

/// The lengths of answers that are sent from memory and from a file.
const ANSWERS: [usize; 2] = [16 * 1024, 100 * 1024];

/// The length of the head of an answer.
const HEAD: usize = 250;

/// How many ops of one sort complete together.
const BATCHES: [usize; 3] = [1, 8, 64];

/// The drivers for which answers and batches are measured.
const IN_DETAIL: [DriverKind; 2] = [DriverKind::Uring, DriverKind::Epoll];

const TOKEN: Token = Token(1);

/// Measures the ops of one driver.
struct OpBenches<'a> {
    kind: DriverKind,
    criterion: &'a mut Criterion,
}

impl Visitor for OpBenches<'_> {
    type Out = io::Result<()>;

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> io::Result<()> {
        let OpBenches { kind, criterion } = self;
        let limits = Limits { sockets_max: 256, ..Limits::default() };
        wakes(kind, criterion, &mut open(&limits)?);
        bytes(kind, criterion, &mut open(&limits)?)?;
        files(kind, criterion, &mut open(&limits)?)?;
        if IN_DETAIL.contains(&kind) {
            answers(kind, criterion, &mut open(&limits)?)?;
            for count in BATCHES {
                accepts(kind, criterion, &mut open(&limits)?, count)?;
                receives(kind, criterion, &mut open(&limits)?, count)?;
                sends(kind, criterion, &mut open(&limits)?, count)?;
            }
        }
        Ok(())
    }
}

/// Waits for the completion of the only op in flight.
fn next<D: Driver>(driver: &mut D) -> Outcome {
    let mut completions = Vec::with_capacity(1);
    while completions.is_empty() {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    completions.remove(0).outcome
}

/// A wake, which is the shortest path through a driver.
fn wakes<D: Driver>(kind: DriverKind, criterion: &mut Criterion, driver: &mut D) {
    let waker = driver.waker();
    criterion.benchmark_group("wake").bench_function(kind.name(), |bencher| {
        bencher.iter(|| {
            waker.wake();
            assert!(matches!(next(driver), Outcome::Woken));
        });
    });
}

/// Waits for so many completions.
fn next_of<D: Driver>(driver: &mut D, count: usize) -> Vec<Outcome> {
    let mut completions = Vec::with_capacity(count);
    while completions.len() < count {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    assert_eq!(completions.len(), count);
    completions.into_iter().map(|completion| completion.outcome).collect()
}

/// A connection: the driver's end, and the other one.
fn connect<D: Driver>(driver: &mut D) -> io::Result<(Sock, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let peer = TcpStream::connect(listener.local_addr()?)?;
    peer.set_nodelay(true)?;
    let accepted = listener.accept()?.0;
    accepted.set_nodelay(true)?;
    // An answer fits into the buffers, so its send ends before the peer reads.
    socket2::SockRef::from(&accepted).set_send_buffer_size(1 << 20)?;
    Ok((driver.adopt(accepted.into())?, peer))
}

/// Receiving a byte and sending it back. The peer makes two system calls, with every driver.
fn bytes<D: Driver>(kind: DriverKind, criterion: &mut Criterion, driver: &mut D) -> io::Result<()> {
    let (sock, mut peer) = connect(driver)?;
    driver.submit(TOKEN, Op::RecvMany { sock });
    let mut spare = Some(Box::new(Chain::new()));
    criterion.benchmark_group("receive and send").bench_function(kind.name(), |bencher| {
        bencher.iter(|| {
            peer.write_all(b"x").expect("the connection is open");
            let Outcome::Received(Ok(Some(lease))) = next(driver) else {
                panic!("no byte arrived")
            };
            let mut chain = spare.take().expect("the last send returned it");
            chain.clear();
            chain.copy(&lease);
            driver.submit(TOKEN, Op::Send { sock, chain, end: SendEnd::Open });
            let Outcome::Sent(Ok(()), chain) = next(driver) else { panic!("the send failed") };
            spare = Some(chain);
            peer.read_exact(&mut [0]).expect("the byte is echoed");
        });
    });
    Ok(())
}

/// Opening a file, and reading 4 KiB of it.
fn files<D: Driver>(kind: DriverKind, criterion: &mut Criterion, driver: &mut D) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("file"), [b'x'; READ])?;
    let root = Arc::new(File::open_root(folder.path(), Links::Beneath)?);
    let path = CString::new("file").expect("no NUL");
    criterion.benchmark_group("open").bench_function(kind.name(), |bencher| {
        bencher.iter(|| {
            driver.submit(TOKEN, Op::OpenFile { root: Arc::clone(&root), path: path.clone() });
            assert!(matches!(next(driver), Outcome::Opened(Ok(_))));
        });
    });
    let file = Arc::new(File::open_beneath(&root, &path)?);
    let mut spare = Vec::with_capacity(READ);
    criterion.benchmark_group("read 4 KiB").bench_function(kind.name(), |bencher| {
        bencher.iter(|| {
            let mut buffer = std::mem::take(&mut spare);
            buffer.clear();
            driver.submit(TOKEN, Op::ReadFile { file: Arc::clone(&file), offset: 0, buffer });
            let Outcome::FileRead(Ok(READ), buffer) = next(driver) else {
                panic!("the read failed")
            };
            spare = black_box(buffer);
        });
    });
    Ok(())
}

/// An answer whose content is in memory, which the kernel copies, and one whose content is in a
/// file (`sendfile(2)`). The time of the peer, which reads it, is not counted.
fn answers<D: Driver>(
    kind: DriverKind,
    criterion: &mut Criterion,
    driver: &mut D,
) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let root = Arc::new(File::open_root(folder.path(), Links::Beneath)?);
    let (sock, mut peer) = connect(driver)?;
    let mut spare = Some(Box::new(Chain::new()));
    for length in ANSWERS {
        fs::write(folder.path().join("file"), vec![b'x'; length])?;
        let file = Arc::new(File::open_beneath(&root, c"file")?);
        let memory: Rc<[u8]> = vec![b'x'; length].into();
        let mut arrived = vec![0; HEAD + length];
        let mut group = criterion.benchmark_group(format!("answer of {} KiB", length / 1024));
        group.throughput(Throughput::Bytes(length as u64));
        for from_file in [false, true] {
            let name = if from_file { "file" } else { "memory" };
            let mut one = || {
                let mut chain = spare.take().expect("the last send returned it");
                chain.clear();
                chain.copy(&[b'h'; HEAD]);
                match from_file {
                    true => chain.file(&file, 0..length as u64),
                    false => chain.share(&memory),
                }
                let began = Instant::now();
                driver.submit(TOKEN, Op::Send { sock, chain, end: SendEnd::Open });
                let Outcome::Sent(Ok(()), chain) = next(driver) else { panic!("the send failed") };
                let took = began.elapsed();
                spare = Some(chain);
                peer.read_exact(&mut arrived).expect("the answer arrives");
                took
            };
            group.bench_function(BenchmarkId::new(name, kind.name()), |bencher| {
                bencher.iter_custom(|count| (0..count).map(|_| one()).sum());
            });
        }
    }
    Ok(())
}

/// Accepting connections that wait in the queue of a listener. That they are made and closed is not
/// counted.
fn accepts<D: Driver>(
    kind: DriverKind,
    criterion: &mut Criterion,
    driver: &mut D,
    count: usize,
) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let listener = driver.adopt(listener.into())?;
    driver.submit(TOKEN, Op::AcceptMany { listener });
    let mut one = || {
        let connect = |_| TcpStream::connect(address).expect("the queue has room");
        let peers: Vec<TcpStream> = (0..count).map(connect).collect();
        let began = Instant::now();
        let accepted = next_of(driver, count);
        let took = began.elapsed();
        for outcome in accepted {
            let Outcome::Accepted(Ok(sock)) = outcome else { panic!("an accept failed") };
            // A reset leaves no port in use (`TIME_WAIT`).
            driver.submit(TOKEN, Op::Close { sock, reset: true });
        }
        next_of(driver, count);
        drop(peers);
        took
    };
    measure_batch(kind, criterion, "accept", count, &mut one);
    Ok(())
}

/// Receiving a byte on each of some connections. That the peers send them is not counted.
fn receives<D: Driver>(
    kind: DriverKind,
    criterion: &mut Criterion,
    driver: &mut D,
    count: usize,
) -> io::Result<()> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let (sock, peer) = connect(driver)?;
        driver.submit(TOKEN, Op::RecvMany { sock });
        peers.push(peer);
    }
    let mut one = || {
        for peer in &mut peers {
            peer.write_all(b"x").expect("the connection is open");
        }
        let began = Instant::now();
        let received = next_of(driver, count);
        let took = began.elapsed();
        let is_byte = |outcome: &Outcome| matches!(outcome, Outcome::Received(Ok(Some(_))));
        assert!(received.iter().all(is_byte), "a byte did not arrive");
        took
    };
    measure_batch(kind, criterion, "receive", count, &mut one);
    Ok(())
}

/// Sending a byte on each of some connections. That the peers receive them is not counted.
fn sends<D: Driver>(
    kind: DriverKind,
    criterion: &mut Criterion,
    driver: &mut D,
    count: usize,
) -> io::Result<()> {
    let mut ends = Vec::new();
    for _ in 0..count {
        ends.push(connect(driver)?);
    }
    let mut spares: Vec<_> = ends.iter().map(|_| Box::new(Chain::new())).collect();
    let mut one = || {
        for chain in &mut spares {
            chain.clear();
            chain.copy(b"x");
        }
        let began = Instant::now();
        for ((sock, _), chain) in ends.iter().zip(spares.drain(..)) {
            driver.submit(TOKEN, Op::Send { sock: *sock, chain, end: SendEnd::Open });
        }
        let sent = next_of(driver, count);
        let took = began.elapsed();
        for outcome in sent {
            let Outcome::Sent(Ok(()), chain) = outcome else { panic!("a send failed") };
            spares.push(chain);
        }
        for (_, peer) in &mut ends {
            peer.read_exact(&mut [0]).expect("the byte arrives");
        }
        took
    };
    measure_batch(kind, criterion, "send", count, &mut one);
    Ok(())
}

/// Measures `one` batch. The report says how many ops complete in a second.
fn measure_batch(
    kind: DriverKind,
    criterion: &mut Criterion,
    what: &str,
    count: usize,
    one: &mut dyn FnMut() -> Duration,
) {
    let mut group = criterion.benchmark_group(format!("{what} {count} at a time"));
    group.throughput(Throughput::Elements(count as u64));
    // What is not counted takes several times as long as what is.
    group.sample_size(30);
    group.warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(300));
    group.bench_function(kind.name(), |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| one()).sum());
    });
}

fn ops(criterion: &mut Criterion) {
    for kind in DriverKind::ALL {
        let works = DriverSelection::make(Some(kind))
            .and_then(|_| kind.visit(OpBenches { kind, criterion: &mut *criterion }));
        if let Err(error) = works {
            println!("{kind} skipped: {error}");
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .noise_threshold(0.02)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = ops
}
criterion_main!(benches);
