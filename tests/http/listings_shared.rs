//! Listings that many clients request, and what is left of them afterwards.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use ringd::driver::DriverKind;

use crate::common::eventually;
use crate::support::client::{Client, request};
use crate::support::fixture::Fixture;

/// More than the queue of jobs holds.
const CLIENTS: u32 = 24;
const ENTRIES: u32 = 2000;

/// One client requests many listings of a large directory at a time. Each is made, and another
/// client gets its listing before most of them.
pub(crate) fn other_clients_wait_for_one_listing_of_each(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.site.content.listing = true;
        // Nothing is kept, so that each listing takes long.
        setup.http.revalidate_after = Duration::ZERO;
    });
    let directory = fixture.path("shelf");
    fs::create_dir(&directory).unwrap();
    for number in 0..ENTRIES {
        fs::write(directory.join(number.to_string()), "").unwrap();
    }
    let mut greedy: Vec<Client> = (0..CLIENTS).map(|_| fixture.connect()).collect();
    for (client, number) in greedy.iter_mut().zip(0..) {
        let (sort, page) = (["size", "time"][number % 2], 1 + number / 2);
        client.send(request("GET", &format!("/shelf/?sort={sort}&page={page}"), ""));
    }
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut other = Client::connect_from(other, fixture.address());
    let response = other.ask("GET", "/shelf/?sort=time&order=desc", "");
    assert_eq!(response.status, 200, "{}", response.head);
    for client in &mut greedy {
        let response = client.read_response();
        assert_eq!(response.status, 200, "{}", response.head);
    }
    drop((greedy, other));
    fixture.finish();
}

/// A reading has its directory open. It ends with its time, although the worker has nothing to do.
pub(crate) fn a_directory_is_closed_though_nobody_asks(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.site.content.listing = true;
        setup.http.revalidate_after = Duration::from_secs(2);
        setup.http.watch = false;
    });
    let directory = fixture.path("shelf");
    fs::create_dir(&directory).unwrap();
    assert_eq!(fixture.get("/shelf/").status, 200);
    // On a slow machine the time may be over already.
    println!("open directories after the answer: {}", open_files(&directory));
    fixture.wait_for_connections(0);
    eventually("the directory is closed", || open_files(&directory) == 0);
    fixture.finish();
}

/// How many descriptors of this process lead to a path.
fn open_files(path: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let leads = |link: &fs::DirEntry| fs::read_link(link.path()).is_ok_and(|to| to == path);
    descriptors.filter_map(Result::ok).filter(|link| leads(link)).count()
}
