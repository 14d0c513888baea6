//! The time of one op and its completion on every driver that works here:
//! `cargo bench --bench driver`.
//!
//! A single op is the worst case for a driver that submits ops in batches, because nothing is
//! shared with other ops. `ringd bench` measures many connections.

use std::ffi::CString;
use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringd::driver::{
    Chain, Driver, DriverKind, DriverSelection, File, Limits, Links, Op, Outcome, SendEnd, Token,
    Visitor,
};

/// The size of a read from a file.
const READ: usize = 4096;

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
        let limits = Limits { sockets_max: 16, ..Limits::default() };
        wakes(kind, criterion, &mut open(&limits)?);
        bytes(kind, criterion, &mut open(&limits)?)?;
        files(kind, criterion, &mut open(&limits)?)
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

/// Receiving a byte and sending it back. The peer makes two system calls, with every driver.
fn bytes<D: Driver>(kind: DriverKind, criterion: &mut Criterion, driver: &mut D) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut peer = TcpStream::connect(listener.local_addr()?)?;
    peer.set_nodelay(true)?;
    let accepted = listener.accept()?.0;
    accepted.set_nodelay(true)?;
    let sock = driver.adopt(accepted.into())?;
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
