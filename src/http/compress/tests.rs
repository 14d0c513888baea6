//! The store within its bounds, and the compressor as workers use it.

use std::io::Write;
use std::sync::mpsc;

use super::compressor::has_files;
#[cfg(feature = "compress")]
use super::job::{BodyLimits, CompressJob, JobResult};
use super::store::{StoreSize, Stored, VariantStore};
use super::*;
use crate::driver::{File, FileKind, Metadata};
use crate::http::semantics::negotiate::Coding;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn id(number: u64) -> CompressedId {
    let metadata = Metadata {
        kind: FileKind::Regular,
        len: 100_000,
        modified: (1, 0),
        changed: (1, 0),
        inode: number,
        device: 1,
    };
    CompressedId { plain: metadata, coding: Coding::Gzip, level: CompressLevel::Default }
}

/// A body of so many bytes; a file if there are more than a thousand.
fn body(number: u64, len: usize) -> Arc<CompressedBody> {
    let content = if len > 1000 {
        CompressedContent::File(Arc::new(File::in_memory(&vec![b'a'; len]).unwrap()))
    } else {
        CompressedContent::Memory(vec![b'a'; len].into())
    };
    Arc::new(CompressedBody::new(id(number), format!("\"{number}\""), content))
}

fn bounds(bytes: u64, files: usize) -> CompressBounds {
    CompressBounds { bytes, files, memory_file_max: 1000 }
}

/// Puts a body into the store if there is room.
fn put(store: &mut VariantStore, number: u64, len: usize, now: Instant) -> bool {
    let body = body(number, len);
    let fits = store.make_room(Some(&body), now).is_some() && store.has_room(Some(&body));
    if fits {
        store.insert(id(number), Some(body));
    }
    fits
}

fn has(store: &mut VariantStore, number: u64, now: Instant) -> bool {
    matches!(store.find(&id(number), now), Stored::Body(_))
}

#[test]
fn a_set_four_times_as_large_stays_within_the_bounds() {
    for limits in [bounds(1 << 20, 1024), bounds(1 << 30, 40)] {
        let (mut store, mut now) = (VariantStore::new(limits), Instant::now());
        let mut random = fastrand::Rng::with_seed(3);
        for number in 0..400 {
            let len = random.usize(100..20_000);
            assert!(put(&mut store, number, len, now), "nobody holds what was evicted");
            let StoreSize { bytes, files } = store.taken();
            assert!(bytes <= limits.bytes && files <= limits.files, "{bytes} {files}");
            // The first one stays, because it is used.
            assert!(has(&mut store, 0, now), "{number}");
            now += Duration::from_millis(1);
        }
        assert!(store.evictions() > 200 && store.bodies() > 20);
    }
}

#[test]
fn what_is_held_counts_until_it_is_let_go() {
    let (mut store, now) = (VariantStore::new(bounds(12_000, 9)), Instant::now());
    assert!(put(&mut store, 1, 10_000, now));
    let Stored::Body(held) = store.find(&id(1), now) else { panic!() };
    let CompressedContent::File(file) = held.content() else { panic!() };
    let file = Arc::clone(file);
    assert!(!put(&mut store, 2, 10_000, now), "the first one is evicted, and still held");
    assert_eq!(store.taken().files, 1);
    drop(held);
    assert!(!put(&mut store, 2, 10_000, now), "a response still sends it");
    drop(file);
    assert!(put(&mut store, 2, 10_000, now));
}

#[test]
fn what_is_held_comes_back() {
    let (mut store, now) = (VariantStore::new(bounds(12_000, 9)), Instant::now());
    assert!(put(&mut store, 1, 10_000, now));
    let Stored::Body(held) = store.find(&id(1), now) else { panic!() };
    let CompressedContent::File(file) = held.content() else { panic!() };
    let (file, tag, taken) = (Arc::clone(file), held.tag().to_owned(), store.taken());
    assert!(!put(&mut store, 2, 10_000, now) && !has(&mut store, 1, now), "it is evicted");
    drop(held);
    let later = now + RETRY_AFTER;
    let Stored::Body(back) = store.find(&id(1), later) else { panic!("a response holds it") };
    let CompressedContent::File(same) = back.content() else { panic!() };
    assert!(Arc::ptr_eq(same, &file) && back.tag() == tag);
    assert_eq!((store.bodies(), store.taken()), (1, taken), "it counts once");
    drop((file, back));
    assert!(put(&mut store, 2, 10_000, later));
    assert!(matches!(store.find(&id(1), later + RETRY_AFTER), Stored::Unknown), "it is gone");
}

#[test]
fn what_was_evicted_is_refused_for_a_while() {
    let (mut store, now) = (VariantStore::new(bounds(12_000, 9)), Instant::now());
    assert!(put(&mut store, 1, 10_000, now) && put(&mut store, 2, 10_000, now));
    assert!(
        matches!(store.find(&id(1), now), Stored::Refused(until) if until == now + RETRY_AFTER)
    );
    let later = now + RETRY_AFTER;
    assert!(matches!(store.find(&id(1), later), Stored::Unknown));
    assert!(!put(&mut store, 3, 20_000, now), "larger than the store");
    assert!(has(&mut store, 2, now), "nothing is evicted for what never fits");
    store.insert(id(4), None);
    assert!(matches!(store.find(&id(4), now), Stored::NotWorth));
}

/// A file of text, and its id.
#[cfg(feature = "compress")]
fn plain(text: &[u8]) -> (CompressedId, Arc<File>, tempfile::NamedTempFile) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text).unwrap();
    let opened = Arc::new(File::new(file.reopen().unwrap().into()).unwrap());
    let level = CompressLevel::Default;
    (CompressedId { plain: *opened.metadata(), coding: Coding::Brotli, level }, opened, file)
}

#[cfg(feature = "compress")]
fn wait_for(compressor: &Compressor, jobs: u64) {
    let until = Instant::now() + Duration::from_secs(60);
    while compressor.done() < jobs {
        assert!(Instant::now() < until, "the job is not done");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(feature = "compress")]
fn words(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(9);
    let words: Vec<String> =
        (0..300).map(|_| (0..random.usize(2..9)).map(|_| random.lowercase()).collect()).collect();
    let mut text = String::new();
    while text.len() < bytes {
        text += &words[random.usize(..300)];
        text.push(' ');
    }
    text.into_bytes()
}

#[cfg(feature = "compress")]
#[test]
fn all_workers_get_the_result_of_one_job() {
    let text = words(40_000);
    let (id, file, _path) = plain(&text);
    let compressor = Compressor::new(CompressBounds::default(), Box::new(|_| {}));
    let ask = || compressor.ask(&id, Instant::now(), || CompressSource::File(Arc::clone(&file)));
    assert!(compressor.find(&id, Instant::now()).is_none());
    for _ in 0..5 {
        assert!(matches!(ask(), AskedBody::Pending | AskedBody::Found(_)));
    }
    wait_for(&compressor, 1);
    let AskedBody::Found(body) = ask() else { panic!() };
    assert_eq!(compressor.stats().made, 1);
    let CompressedContent::File(made) = body.content() else { panic!("it is large") };
    let mut coded = vec![0; body.bytes() as usize];
    assert_eq!(made.read_at(&mut coded, 0).unwrap(), coded.len());
    let mut decoded = Vec::new();
    brotli::BrotliDecompress(&mut &coded[..], &mut decoded).unwrap();
    assert_eq!(decoded, text);
    let tag = format!("-{:x}-br\"", coded.len());
    assert!(body.tag().starts_with("\"x") && body.tag().ends_with(&tag), "{}", body.tag());
}

/// All codings and levels decode to the plain bytes, and a better level is not larger.
#[cfg(feature = "compress")]
#[test]
fn every_level_decodes() {
    use super::encode::encode;
    let text = words(300_000);
    for coding in Coding::ALL {
        let mut lengths = Vec::new();
        for level in [CompressLevel::Fast, CompressLevel::Default, CompressLevel::Best] {
            let mut coded = Vec::new();
            encode((coding, level), text.len() as u64, &mut &text[..], &mut coded).unwrap();
            let mut plain = Vec::new();
            match coding {
                Coding::Brotli => {
                    brotli::BrotliDecompress(&mut &coded[..], &mut plain).unwrap();
                }
                Coding::Zstd => plain = zstd::decode_all(&coded[..]).unwrap(),
                Coding::Gzip => {
                    let mut decoder = flate2::read::GzDecoder::new(&coded[..]);
                    std::io::copy(&mut decoder, &mut plain).unwrap();
                }
            }
            assert!(plain == text, "{coding:?} {level:?}");
            lengths.push(coded.len());
        }
        assert!(lengths.is_sorted_by(|one, next| one > next), "{coding:?} {lengths:?}");
    }
}

#[cfg(feature = "compress")]
#[test]
fn a_file_that_changes_is_dropped() {
    let (id, file, mut path) = plain(&words(40_000));
    let compressor = Compressor::new(CompressBounds::default(), Box::new(|_| {}));
    // The descriptor is the one that was opened before.
    path.write_all(b"more").unwrap();
    let ask = || compressor.ask(&id, Instant::now(), || CompressSource::File(Arc::clone(&file)));
    assert!(matches!(ask(), AskedBody::Pending));
    wait_for(&compressor, 1);
    assert!(matches!(ask(), AskedBody::Refused(_)));
    path.as_file().set_len(100).unwrap();
    let other = CompressedId { coding: Coding::Gzip, ..id };
    compressor.ask(&other, Instant::now(), || CompressSource::File(Arc::clone(&file)));
    wait_for(&compressor, 2);
    assert_eq!((compressor.stats().dropped, compressor.stats().made), (2, 0));
}

#[cfg(feature = "compress")]
#[test]
fn what_saves_too_little_is_not_worth_it() {
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..20_000).map(|_| random.u8(..)).collect();
    let (id, file, _path) = plain(&noise);
    let compressor = Compressor::new(CompressBounds::default(), Box::new(|_| {}));
    let ask = || compressor.ask(&id, Instant::now(), || CompressSource::File(Arc::clone(&file)));
    ask();
    wait_for(&compressor, 1);
    assert!(matches!(ask(), AskedBody::NotWorth));
    let stats = compressor.stats();
    assert_eq!((stats.not_worth, stats.bodies, stats.dropped), (1, 0, 0));
}

/// A worker is told of what was evicted, also if its mailbox was full for a while.
#[cfg(feature = "compress")]
#[test]
fn workers_are_told_of_evictions() {
    let limits = CompressBounds { bytes: 30_000, files: 1, memory_file_max: 100 };
    let compressor = Compressor::new(limits, Box::new(|_| {}));
    let (told, evictions) = mpsc::channel();
    let mut refusals = 3;
    compressor.tell_evictions(Box::new(move |evicted| {
        if refusals > 0 {
            refusals -= 1;
            return Err(evicted);
        }
        told.send(evicted).unwrap();
        Ok(())
    }));
    let files: Vec<_> = (0..2).map(|_| plain(&words(40_000))).collect();
    for (id, file, _) in &files {
        compressor.ask(id, Instant::now(), || CompressSource::File(Arc::clone(file)));
    }
    wait_for(&compressor, 2);
    let evicted = evictions.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(evicted, EvictedBodies::Some(vec![files[0].0]));
    let stats = compressor.stats();
    assert_eq!((stats.bodies, stats.evictions, stats.made), (1, 1, 2));
}

/// A client that reads slowly keeps what it is sent, not all of the store.
#[cfg(feature = "compress")]
#[test]
fn a_slow_reader_does_not_keep_others_out() {
    let limits = CompressBounds { bytes: 1 << 20, files: 3, memory_file_max: 100 };
    let compressor = Compressor::new(limits, Box::new(|_| {}));
    let files: Vec<_> = (0..6).map(|_| plain(&words(40_000))).collect();
    let ask = |number: usize| {
        let (id, file, _) = &files[number];
        compressor.ask(id, Instant::now(), || CompressSource::File(Arc::clone(file)))
    };
    let mut held = Vec::new();
    for number in 0..6 {
        ask(number);
        wait_for(&compressor, number as u64 + 1);
        let AskedBody::Found(body) = ask(number) else { panic!("{number} is not there") };
        let CompressedContent::File(file) = body.content() else { panic!("it is large") };
        if number < 2 {
            // As a response does.
            held.push(Arc::clone(file));
        }
    }
    let stats = compressor.stats();
    assert_eq!((stats.made, stats.dropped), (6, 0));
    assert_eq!((stats.bodies, stats.files, stats.evictions), (1, 3, 5), "two are held");
}

#[cfg(feature = "compress")]
#[test]
fn what_never_fits_is_not_made_again() {
    let (id, file, _path) = plain(&words(40_000));
    let later = Instant::now() + 2 * RETRY_AFTER;
    for (bytes, files, jobs) in [(4000, 9, 1), (1 << 20, 0, 1), (0, 9, 0)] {
        let limits = CompressBounds { bytes, files, memory_file_max: 100 };
        let compressor = Compressor::new(limits, Box::new(|_| {}));
        let ask = |now| compressor.ask(&id, now, || CompressSource::File(Arc::clone(&file)));
        ask(Instant::now());
        wait_for(&compressor, jobs);
        assert!(matches!(ask(later), AskedBody::NotWorth), "{limits:?}");
        let stats = compressor.stats();
        assert_eq!((stats.not_worth, stats.bodies, stats.dropped), (jobs, 0, 0), "{limits:?}");
    }
}

/// Nobody would start the thread again.
#[test]
fn a_panic_of_who_is_told_does_not_end_the_thread() {
    let told: FilesDenied = Box::new(|error| panic!("{error}"));
    let denied = |code| Err(std::io::Error::from_raw_os_error(code));
    assert!(!has_files(denied(libc::EPERM), &told));
    assert!(has_files(denied(libc::EMFILE), &told), "that may pass");
    assert!(has_files(Ok(()), &told));
}

/// Where files in memory are denied, what is small is made nevertheless.
#[cfg(feature = "compress")]
#[test]
fn a_body_may_have_to_be_small() {
    let text = words(40_000);
    let (id, file, _path) = plain(&text);
    let sources =
        || [CompressSource::File(Arc::clone(&file)), CompressSource::Memory(text.clone())];
    for (memory_file_max, has_files, expected) in
        [(1000, true, Some(true)), (1000, false, None), (39_000, false, Some(false))]
    {
        for source in sources() {
            let limits = BodyLimits { memory_file_max, has_files };
            let is_file = match (CompressJob { id, source }).perform(limits) {
                JobResult::Made(body) => Some(matches!(body.content(), CompressedContent::File(_))),
                JobResult::NotWorth => None,
                JobResult::Failed => panic!("{limits:?}"),
            };
            assert_eq!(is_file, expected, "{limits:?}");
        }
    }
}

#[cfg(feature = "compress")]
#[test]
fn the_queue_is_bounded() {
    let compressor = Compressor::new(CompressBounds::default(), Box::new(|_| {}));
    let (id, file, _path) = plain(&words(8_000_000));
    for number in 0..1000 {
        let mut other = id;
        other.plain.inode = number;
        compressor.ask(&other, Instant::now(), || CompressSource::File(Arc::clone(&file)));
        assert!(compressor.stats().waiting <= QUEUE_MAX as u64 + 1);
    }
}
