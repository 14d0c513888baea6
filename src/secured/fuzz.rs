//! The fuzz entry of layers.

use super::layer::{Layer, LayerError};
use super::toy::{Toy, ToySettings};
use crate::session::Inbox;

/// What a layer writes by itself to a peer whose input has no length: a flight of the handshake,
/// or the answer to another protocol.
const OUT_MAX: usize = 16 * 1024;

/// What a layer makes of the wire.
#[derive(PartialEq, Eq, Debug)]
struct Opened {
    plain: Vec<u8>,
    result: Result<(), LayerError>,
    has_ended: bool,
    is_protected: bool,
}

/// Fuzz entry: the layer without cryptography.
///
/// # Panics
///
/// As [`fuzz_layer`].
pub fn fuzz_toy(data: &[u8]) {
    fuzz_layer::<Toy>(&mut ToySettings(std::time::Duration::ZERO), data);
}

/// Fuzz entry: checks the chunking law of a layer, and that its output is bounded by its input. The
/// first byte says how the rest is cut.
///
/// # Panics
///
/// If an invariant of [`Layer::open`] does not hold.
pub fn fuzz_layer<L: Layer>(shared: &mut L::Shared, data: &[u8]) {
    let [cut, wire @ ..] = data else { return };
    let whole = open::<L>(shared, wire, wire.len().max(1));
    for piece in [1, 2, 7, 1 + usize::from(*cut)] {
        assert_eq!(open::<L>(shared, wire, piece), whole, "pieces of {piece}");
    }
}

fn open<L: Layer>(shared: &mut L::Shared, wire: &[u8], piece: usize) -> Opened {
    let mut layer = L::new(shared);
    let (mut plain, mut out, mut result) = (Vec::new(), Vec::new(), Ok(()));
    for part in wire.chunks(piece) {
        let mut inbox = Inbox::new(part, false);
        let _ = layer.is_costly(part);
        result = layer.open(shared, &mut inbox, &mut plain, &mut out);
        if result.is_err() {
            break;
        }
        assert!(inbox.bytes().is_empty(), "a layer takes all bytes");
        assert!(plain.is_empty() || layer.protection().is_some(), "plaintext in a handshake");
    }
    assert!(plain.len() <= wire.len() && out.len() <= OUT_MAX + wire.len());
    let (has_ended, is_protected) = (layer.has_ended(), layer.protection().is_some());
    Opened { plain, result, has_ended, is_protected }
}
