//! One op and its completion, on every driver that works here: `cargo bench --bench driver`.
//!
//! A trip by itself is the worst case for a driver that hands many ops over at once: nothing is
//! shared with other ops. What many connections cost, is for `ringd bench` to say.

use std::ffi::CString;
use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use ringd::driver::{
    Chain, Driver, DriverKind, DriverSelection, File, Limits, Links, Op, Outcome, Token, Visitor,
};

/// Bytes that are read of a file at a time.
const READ: usize = 4096;

const TOKEN: Token = Token(1);

/// Measures one kind of trip.
struct Trips<'a> {
    kind: DriverKind,
    criterion: &'a mut Criterion,
}

impl Visitor for Trips<'_> {
    type Out = io::Result<()>;

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> io::Result<()> {
        let Trips { kind, criterion } = self;
        let limits = Limits { sockets_max: 16, ..Limits::default() };
        wakes(kind, criterion, &mut open(&limits)?);
        bytes(kind, criterion, &mut open(&limits)?)?;
        files(kind, criterion, &mut open(&limits)?)
    }
}

/// Waits for the one completion that is under way.
fn next<D: Driver>(driver: &mut D) -> Outcome {
    let mut completions = Vec::with_capacity(1);
    while completions.is_empty() {
        driver.wait(None, &mut completions).expect("the driver works");
    }
    completions.remove(0).outcome
}

/// The shortest way through a driver: being woken.
fn wakes<D: Driver>(kind: DriverKind, criterion: &mut Criterion, driver: &mut D) {
    let waker = driver.waker();
    criterion.benchmark_group("wake").bench_function(kind.name(), |bencher| {
        bencher.iter(|| {
            waker.wake();
            assert!(matches!(next(driver), Outcome::Woken));
        });
    });
}

/// A byte is received and sent back. The other end makes two system calls, on every driver.
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
            peer.write_all(b"x").expect("the connection stands");
            let Outcome::Received(Ok(Some(lease))) = next(driver) else { panic!("a byte") };
            let mut chain = spare.take().expect("it came back");
            chain.clear();
            chain.copy(&lease);
            driver.submit(TOKEN, Op::Send { sock, chain, fin: false });
            let Outcome::Sent(Ok(()), chain) = next(driver) else { panic!("it was sent") };
            spare = Some(chain);
            peer.read_exact(&mut [0]).expect("it comes back");
        });
    });
    Ok(())
}

/// A file of this package is opened; some of it is read.
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
            let Outcome::FileRead(Ok(READ), buffer) = next(driver) else { panic!("it is there") };
            spare = black_box(buffer);
        });
    });
    Ok(())
}

fn trips(criterion: &mut Criterion) {
    for kind in DriverKind::ALL {
        let works = DriverSelection::make(Some(kind))
            .and_then(|_| kind.visit(Trips { kind, criterion: &mut *criterion }));
        if let Err(error) = works {
            println!("{kind} skipped: {error}");
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = trips
}
criterion_main!(benches);
