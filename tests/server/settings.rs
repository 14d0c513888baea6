//! Settings out of their ranges are refused before anything is opened.

use ringd::driver::{DriverKind, DriverSelection};
use ringd::serve;
use ringd::server::StartError;

use crate::common::{on_every_driver, settings};

/// Otherwise a driver would fail or panic with them, each in its own way.
#[test]
fn a_server_does_not_start_with_a_setting_out_of_its_range() {
    on_every_driver(|kind: DriverKind| {
        let mut settings = settings();
        settings.limits.buffers = 1000;
        let selection = DriverSelection::make(Some(kind)).unwrap();
        match serve::echo(&settings, selection) {
            Err(StartError::Settings(reason)) => assert!(reason.contains("power of two")),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it has started"),
        }
    });
}
